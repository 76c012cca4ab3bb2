"""COCO's JSON: captions, and boxes with category names as phrases. Holds captions and regions."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ...types import Region, Sample
from ..images import stored_size
from .paths import expand, replacing
from .pictures import encoded, place
from .rows import checked_box, items, refuse_loss, text


@dataclass(frozen=True)
class Coco:
    """Samples of COCO's annotation files (https://cocodataset.org/#format-data), one for each image.

    Captions and boxes may lie in files of their own: "annotations/{captions,instances}_val2017.json" names both.
    What is said about an image in any of them comes together. Kept in memory without outlines.

    Attributes:
        path: One file, or a pattern for several.
        images: The folder that "file_name" starts from. None: `images/`, or a folder named like the file's
            ending (val2017) beside it or one level up, or the file's own.
        crowd: Regions around crowds (`iscrowd`) count, too.
    """

    path: Path
    images: Path | None = None
    crowd: bool = False
    holds: ClassVar[tuple[str, ...]] = ("captions", "regions")

    def __len__(self) -> int:
        return len(self._content.images)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in file order.

        Raises:
            ValueError: If an entry is broken. The message names file and image.
        """
        return map(self.sample, range(len(self)))

    def sample(self, index: int) -> Sample:
        """The sample of an image, by its place in the file.

        Raises:
            ValueError: If an entry is broken. The message names file and image.
        """
        image = self._content.images[index]
        try:
            key = image["id"]
            notes = self._content.notes.get(key, [])
            boxes = [note for note in notes if "bbox" in note and (self.crowd or not note.get("iscrowd"))]
            return Sample(
                id=str(key),
                image=self._root / self._file(image),
                captions=tuple(text(note, "caption") for note in notes if "caption" in note),
                regions=tuple(self._region(note, image) for note in boxes),
            )
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ValueError(f"{self.path}: image {image.get('id', index)}: not a sample: {error!r}") from error

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples to one file, and pictures that are bytes to `images` (None: beside it). Returns their number.

        Ids that are whole numbers are written as such, others as texts.

        Raises:
            ValueError: If a sample has a long caption or negatives.
        """
        numbers: dict[str, int] = {}
        images: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        for sample in samples:
            images.append(self._image(sample, len(images)))
            notes.extend(self._notes(sample, images[-1], numbers))
        for number, note in enumerate(notes, start=1):
            note["id"] = number
        categories = [{"id": number, "name": self._name(phrase)} for phrase, number in numbers.items()]
        with replacing(self.path) as partial, partial.open("w", encoding="utf-8") as file:
            json.dump({"images": images, "annotations": notes, "categories": categories}, file, ensure_ascii=False)
        return len(images)

    def _file(self, image: dict[str, Any]) -> str:
        """An image's file below the folder."""
        return text(image, "file_name")

    def _phrase(self, name: str) -> str:
        """A category's name as a phrase."""
        return name

    def _name(self, phrase: str) -> str:
        """A phrase as a category's name."""
        return phrase

    def _region(self, note: dict[str, Any], image: dict[str, Any]) -> Region:
        """A box in pixels as a region."""
        x, y, width, height = note["bbox"]
        wide, high = image["width"], image["height"]
        box = checked_box([x / wide, y / high, (x + width) / wide, (y + height) / high])
        return Region(box, self._phrase(self._content.categories[note["category_id"]]))

    def _image(self, sample: Sample, number: int) -> dict[str, Any]:
        """The entry of an image."""
        refuse_loss(sample, self.holds, type(self).__name__.upper())
        width, height = stored_size(encoded(sample))
        folder = self.images or self.path.parent / "images"
        digits = sample.id.isdecimal() and str(int(sample.id)) == sample.id
        return {
            "id": int(sample.id) if digits else sample.id,
            "file_name": place(sample, folder, f"{self.path.stem}/{number:012d}"),
            "width": width,
            "height": height,
        }

    def _notes(self, sample: Sample, image: dict[str, Any], numbers: dict[str, int]) -> Iterator[dict[str, Any]]:
        """The annotations of an image."""
        for caption in sample.captions:
            yield {"image_id": image["id"], "caption": caption}
        wide, high = image["width"], image["height"]
        for region in sample.regions:
            x0, y0, x1, y1 = region.box
            box = [x0 * wide, y0 * high, (x1 - x0) * wide, (y1 - y0) * high]
            category = numbers.setdefault(region.phrase, len(numbers) + 1)
            note = {"image_id": image["id"], "category_id": category, "bbox": box}
            yield {**note, "area": box[2] * box[3], "iscrowd": 0}

    @property
    def _root(self) -> Path:
        """The folder of images."""
        if self.images:
            return self.images
        folder, split = self.path.parent, self.path.stem.rpartition("_")[2]
        likely = [folder / "images", folder / split, folder.parent / split]
        return next((path for path in likely if path.is_dir()), folder)

    @cached_property
    def _content(self) -> "_Content":
        return _read(self.path)


@dataclass(frozen=True)
class _Content:
    """Annotation files, joined."""

    images: list[dict[str, Any]]
    notes: dict[Any, list[dict[str, Any]]]
    categories: dict[Any, str]


def _read(pattern: Path) -> _Content:
    """Read annotation files, without outlines."""
    images: dict[Any, dict[str, Any]] = {}
    notes: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    categories: dict[Any, str] = {}
    for path in expand(pattern):
        try:
            content = json.loads(path.read_bytes())
            for image in items(content, "images"):
                images.setdefault(image["id"], image)
            for note in items(content, "annotations"):
                note.pop("segmentation", None)
                notes[note["image_id"]].append(note)
            categories.update({one["id"]: text(one, "name") for one in items(content, "categories")})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not in COCO's layout: {error!r}") from error
    astray = next((key for key in notes if key not in images), None)
    if astray is not None:
        raise ValueError(f"{pattern}: annotations of image {astray}, which is not in the list of images.")
    return _Content(list(images.values()), dict(notes), categories)
