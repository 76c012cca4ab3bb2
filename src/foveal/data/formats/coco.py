"""COCO's JSON: captions, and boxes with category names as phrases. Holds captions and regions."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ...types import Box, Region, Sample
from ...writing import replacing
from .boxes import Frame, frame_of
from .fields import BY_NAME, listed, shown
from .json_list import read_json
from .paths import expand
from .pictures import encoded, place
from .rows import identity_of, items, picture_of, refuse_loss, texts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coco:
    """Samples of COCO's annotation files (https://cocodataset.org/#format-data), one for each image.

    Captions and boxes may lie in files of their own: "annotations/{captions,instances}_val2017.json" names both.
    What is said about an image in any of them comes together. Kept in memory without outlines.

    Two further layouts are read: captions and boxes within the entries of images ("sentences", as in Karpathy's splits;
    "boxes": [{"bbox", "cat"}]), and categories as one object of names by number.

    A box that is none is left out, and the sample's `notes` say so. Boxes lie in the picture as it is stored or as EXIF
    turns it upright, whichever "width" and "height" are those of; where they do not tell, its boxes are left out.

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
        """Return the sample of an image, by its place in the file.

        Raises:
            ValueError: If the entry is broken. The message names file and image.
        """
        entry = self._content.images[index]
        if entry.problem:
            raise ValueError(f"{self.path}: image {entry.id or index}: not a sample: {entry.problem}")
        notes: list[str] = []
        image = self.root / self._file(entry.image)
        captions: list[str] = []
        for value in BY_NAME.values(entry.image, "captions"):
            captions += texts(value, "captions", notes)
        for annotation in entry.annotations:
            captions += texts(annotation.get("caption", ""), "caption", notes)
        regions = tuple(self._regions(entry, image, notes))
        return Sample(entry.id, image, tuple(captions), regions=regions, notes=tuple(notes))

    @property
    def classes(self) -> tuple[str, ...]:
        """All categories as phrases, those without a box too."""
        return tuple(map(self._phrase, self._content.categories.values()))

    @property
    def passed_over(self) -> Counter[str]:
        """The numbers of annotations that belong to no sample, by reason."""
        return self._content.passed_over

    @property
    def rows(self) -> int:
        """The number of entries of images that the samples are made of; each belongs to exactly one."""
        return sum(entry.rows for entry in self._content.images)

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples to one file, and pictures that are bytes to `images` (None: beside it). Returns their number.

        Ids that are whole numbers are written as such, others as texts.

        Raises:
            ValueError: If a sample has a long caption or negatives, or boxes in a turned photo whose sizes would not
                say how they lie.
        """
        numbers: dict[str, int] = {}
        images: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        for sample in samples:
            images.append(self._image(sample, len(images)))
            notes.extend(self._annotations(sample, images[-1], numbers))
        for number, note in enumerate(notes, start=1):
            note["id"] = number
        categories = [{"id": number, "name": self._name(phrase)} for phrase, number in numbers.items()]
        with replacing(self.path) as partial, partial.open("w", encoding="utf-8") as file:
            json.dump({"images": images, "annotations": notes, "categories": categories}, file, ensure_ascii=False)
        return len(images)

    def _file(self, image: Mapping[str, Any]) -> str:
        """Return an image's file below the folder. Of an address, the last two parts count, or the last one."""
        name = _place_of(image)
        if "://" not in name:
            return name
        *_, folder, file = name.split("/")
        return f"{folder}/{file}" if (self.root / folder).is_dir() else file

    def _phrase(self, name: str) -> str:
        """Return the phrase of a category's name."""
        return name

    def _name(self, phrase: str) -> str:
        """Return the name of a phrase's category."""
        return phrase

    def _box(self, frame: Frame, values: Any) -> Box:
        """Convert a box in pixels to one in fractions."""
        return frame.box(values)

    def _regions(self, entry: "_Entry", image: Path, notes: list[str]) -> Iterator[Region]:
        """Yield the boxes of an image as regions."""
        boxes = [
            annotation
            for annotation in entry.annotations
            if "bbox" in annotation and (self.crowd or not annotation.get("iscrowd"))
        ]
        if not boxes:
            return
        try:
            frame = frame_of(image, entry.image.get("width"), entry.image.get("height"))
        except ValueError as error:
            notes.extend(f"box in an unknown frame: {shown(annotation['bbox'])}, {error}" for annotation in boxes)
            return
        for annotation in boxes:
            category = annotation.get("category_id", annotation.get("cat"))
            try:
                name = self._content.categories[category]
                yield Region(self._box(frame, annotation["bbox"]), self._phrase(name))
            except (KeyError, TypeError):
                notes.append(f"box of no known category: {shown(category)}")
            except ValueError as error:
                notes.append(str(error))

    def _image(self, sample: Sample, number: int) -> dict[str, Any]:
        """Build the entry of an image."""
        from ..images import stored_frame  # this brings torch, which listing does not need

        refuse_loss(sample, self.holds, type(self).__name__.upper())
        data = encoded(sample)
        width, height, turn = stored_frame(data)
        if turn >= 5:
            width, height = height, width  # boxes lie in the upright picture
        if sample.regions:
            _check_frame(sample, data, width, height)
        folder = self.images or self.path.parent / "images"
        digits = sample.id.isdecimal() and str(int(sample.id)) == sample.id
        return {
            "id": int(sample.id) if digits else sample.id,
            "file_name": place(sample, folder, f"{self.path.stem}/{number:012d}"),
            "width": width,
            "height": height,
        }

    def _annotations(self, sample: Sample, image: dict[str, Any], numbers: dict[str, int]) -> Iterator[dict[str, Any]]:
        """Yield the annotations of an image."""
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
    def root(self) -> Path:
        """The folder of images."""
        if self.images:
            return self.images
        folder, split = self.path.parent, self.path.stem.rpartition("_")[2]
        likely = [folder / "images", folder / split, folder.parent / split]
        return next((path for path in likely if path.is_dir()), folder)

    @cached_property
    def _content(self) -> "_Content":
        content = _Content()
        for path in expand(self.path):
            content.add(path)
        content.join()
        for reason, number in content.passed_over.items():
            log.warning("%s: passed over: %d %s.", self.path, number, reason)
        return content


@dataclass
class _Entry:
    """The annotations of one image, or the reason that it is no sample.

    Attributes:
        id: As a text.
        image: The entry of the list of images.
        annotations: Of it.
        problem: Empty if it is a sample.
        rows: How many entries of the list speak of the image.
    """

    id: str
    image: Mapping[str, Any]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""
    rows: int = 1


class _Content:
    """Annotation files, joined.

    Attributes:
        images: In the order of first mention.
        categories: Names by id.
        passed_over: Annotations that belong to no image, by reason.
    """

    def __init__(self) -> None:
        """Begin with no file."""
        self.images: list[_Entry] = []
        self.categories: dict[Any, str] = {}
        self.passed_over: Counter[str] = Counter()
        self._by_id: dict[str, _Entry] = {}
        self._by_file: dict[str, _Entry] = {}
        self._annotations: list[Any] = []

    def add(self, path: Path) -> None:
        """Read one file.

        Raises:
            ValueError: If it is not in COCO's layout.
        """
        content = read_json(path)
        try:
            if not isinstance(content, dict):
                raise TypeError(f"{shown(content)} is no object with 'images'")
            if not {"images", "annotations"} & set(content):
                raise TypeError(f"there is neither 'images' nor 'annotations', but {listed(content)}")
            for image in items(content, "images"):
                self._add_image(image)
            for annotation in items(content, "annotations"):
                if isinstance(annotation, dict):
                    annotation.pop("segmentation", None)
                self._annotations.append(annotation)
            self._add_categories(content.get("categories") or [])
        except TypeError as error:
            raise ValueError(f"{path}: not in COCO's layout: {error}") from error

    def join(self) -> None:
        """Give each annotation to its image. Files that only name annotations may come before those with images."""
        for annotation in self._annotations:
            image = annotation.get("image_id") if isinstance(annotation, dict) else None
            entry = self._by_id.get(_key(image)) if image is not None else None
            if entry is None:
                reason = "annotations of images that are not in the list" if _key(image) else "annotations of no image"
                self.passed_over[reason] += 1
                continue
            entry.annotations.append(annotation)
        self._annotations = []

    def _add_image(self, image: Any) -> None:
        """Add one entry of the list of images."""
        if not isinstance(image, dict):
            self.images.append(_Entry("", {}, problem=f"{shown(image)} is no object with fields"))
            return
        number = image.get("id", image.get("cocoid", image.get("imgid")))
        inside = image.pop("boxes", None)
        try:
            name = _place_of(image)
        except ValueError as error:
            self.images.append(_Entry(_key(number), image, problem=str(error)))
            return
        identity = _key(number) or name
        entry = self._by_id.get(identity) or self._by_file.get(name)
        if entry is None:
            entry = _Entry(identity, image)
            self.images.append(entry)
        elif _place_of(entry.image) != name:
            problem = f"its id is that of '{_place_of(entry.image)}' as well"
            self.images.append(_Entry(identity, image, problem=problem))
            return
        else:
            entry.image = {**image, **entry.image}
            entry.rows += 1
        self._by_id[identity] = self._by_file[name] = entry
        entry.annotations += [box for box in inside if isinstance(box, dict)] if isinstance(inside, list) else []

    def _add_categories(self, categories: Any) -> None:
        """Add categories from a list of objects, or from one object of names by number."""
        if isinstance(categories, dict):
            categories = [
                {"id": int(key) if key.isdecimal() else key, "name": name} for key, name in categories.items()
            ]
        for category in categories if isinstance(categories, list) else ():
            has_name = isinstance(category, dict) and isinstance(category.get("name"), str) and category["name"].strip()
            if has_name and isinstance(category.get("id"), int | str):
                self.categories[category["id"]] = category["name"]
            else:
                self.passed_over["categories without a number or a name"] += 1


def _check_frame(sample: Sample, image: bytes, width: int, height: int) -> None:
    """Refuse boxes of which no reader could tell how they lie in a turned photo.

    Raises:
        ValueError: If that is so.
    """
    try:
        frame_of(image, width, height)
    except ValueError as error:
        raise ValueError(f"COCO cannot hold the boxes of sample '{sample.id}': {error}. Turn the photo.") from error


def _place_of(image: Mapping[str, Any]) -> str:
    """Return the file of an image, or its address; without either, its number in COCO's twelve digits.

    Raises:
        ValueError: If there is none of these.
    """
    if BY_NAME.values(image, "image"):
        return str(picture_of(image))
    if isinstance(image.get("coco_url"), str):
        return str(image["coco_url"])
    if _key(image.get("id")).isdecimal():
        return f"{int(_key(image['id'])):012d}.jpg"
    raise ValueError(f"there is no 'file_name'. There are: {listed(image)}")


def _key(number: Any) -> str:
    """Return an image's number as a text; empty if it has none."""
    return identity_of({"id": number})
