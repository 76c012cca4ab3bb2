"""The benchmark files that people have, as samples. Pictures need not be there: whoever measures counts them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data.formats import Coco
from ..data.formats.boxes import Frame, frame_of
from ..data.formats.json_list import parsed, read_json
from ..types import Box, Negative, Region, Sample

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FgOvd:
    """A file of FG-OVD's (arXiv:2311.17518) as published with FG-CLIP: a region a line, a phrase and its near misses.

    Attributes:
        path: JSON Lines with `img_path`, `bbox` [x, y, width, height] in pixels, `width`, `height`,
            `pos_expression` (one) and `neg_expression` (up to ten).
        pictures: The folder of the photos.
    """

    path: Path
    pictures: Path

    def __iter__(self) -> Iterator[Sample]:
        """Yield one sample per picture with all of its regions, in the order of first mention.

        Raises:
            ValueError: If a line is no such region. The message names file and line.
        """
        regions: dict[str, list[Region]] = {}
        frames: dict[str, Frame | ValueError] = {}
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                where = f"{self.path}:{number}"
                try:
                    row = parsed(line)
                    name = Path(row["img_path"]).name
                    if name not in frames:
                        frames[name] = _frame(self.pictures / name, row["width"], row["height"])
                    own = regions.setdefault(name, [])
                    own.extend(_fg_ovd_regions(row, frames[name], where))
                except (KeyError, TypeError, IndexError, ValueError) as error:
                    raise ValueError(f"{where}: not a region of FG-OVD: {error!r}.") from error
        for name, own in regions.items():
            yield Sample(id=Path(name).stem, image=self.pictures / name, regions=tuple(own))


@dataclass(frozen=True)
class SugarCrepe:
    """SugarCrepe (arXiv:2306.14610): seven files, each with pairs of a caption and one near miss.

    Attributes:
        folder: Of the JSON files; a file's name is the kind of its near misses.
        pictures: The folder of the photos.
    """

    folder: Path
    pictures: Path

    def __iter__(self) -> Iterator[Sample]:
        """Yield one sample per pair, file by file.

        Raises:
            ValueError: If the folder has no such file, or an entry lacks a field.
        """
        files = sorted(self.folder.glob("*.json"))
        if not files:
            raise ValueError(f"{self.folder} holds no JSON file. Give the folder with SugarCrepe's seven.")
        for path in files:
            pairs = read_json(path)
            if not isinstance(pairs, dict):
                raise ValueError(f"{path} holds no pairs of captions by key.")  # noqa: TRY004  # a user's mistake
            for key, pair in pairs.items():
                try:
                    yield Sample(
                        id=f"{path.stem}/{key}",
                        image=self.pictures / pair["filename"],
                        captions=(pair["caption"],),
                        caption_negatives=(Negative(pair["negative_caption"], path.stem),),
                    )
                except (KeyError, TypeError) as error:
                    raise ValueError(f"{path}: entry {key} is no pair of captions: {error!r}.") from error


@dataclass(frozen=True)
class CocoCaptions:
    """Captions as COCO publishes them (`captions_val2017.json`).

    Attributes:
        path: JSON with `images` (`id`, `file_name`) and `annotations` (`image_id`, `caption`).
        pictures: The folder of the photos.
        most: Captions used per picture, in file order; the field's protocol uses five.
    """

    path: Path
    pictures: Path
    most: int = 5

    def __iter__(self) -> Iterator[Sample]:
        """Yield one sample per picture, in file order.

        Raises:
            ValueError: If the file is no such JSON.
        """
        for sample in Coco(self.path, self.pictures):
            captions = tuple(caption.strip() for caption in sample.captions[: self.most])
            yield replace(sample, captions=captions, regions=())


@dataclass(frozen=True)
class CocoBoxes:
    """Boxes with class names, either as COCO publishes them or with the boxes inside each picture's entry.

    Attributes:
        path: JSON with `categories` and `images`; boxes [x, y, width, height] in pixels stand under `annotations`
            (COCO's `instances_val2017.json`) or under `boxes` of an entry of `images`.
        pictures: The folder of the photos.
    """

    path: Path
    pictures: Path

    def __iter__(self) -> Iterator[Sample]:
        """Yield one sample per picture that has boxes, crowds included, in file order.

        Raises:
            ValueError: If the file is no such JSON.
        """
        for sample in self._file:
            for note in sample.notes:
                log.warning("%s: image %s: left out: %s", self.path, sample.id, note)
            if sample.regions:
                yield replace(sample, captions=())

    @property
    def classes(self) -> tuple[str, ...]:
        """All class names, those without a box too."""
        return self._file.classes

    @cached_property
    def _file(self) -> "_Boxes":
        return _Boxes(self.path, self.pictures, crowd=True)


class _Boxes(Coco):
    """Boxes as the field measures them: of whatever area, cut at the border. An underscore in a name is a space."""

    def _phrase(self, name: str) -> str:
        return name.replace("_", " ")

    def _box(self, frame: Frame, values: Any) -> Box:
        return frame.box(values, least=0.0)


def _frame(image: Path, width: Any, height: Any) -> Frame | ValueError:
    """The frame of an image's boxes, or why it cannot be told."""
    try:
        return frame_of(image, width, height)
    except ValueError as error:
        return error


def _fg_ovd_regions(row: dict[str, Any], frame: Frame | ValueError, where: str) -> Iterator[Region]:
    """The region of a line; none where nobody knows how its box lies in the photo."""
    if isinstance(frame, ValueError):
        log.warning("%s: left out: %s", where, frame)
        return
    yield Region(
        box=frame.box(row["bbox"], least=0.0),
        phrase=row["pos_expression"][0],
        negatives=tuple(Negative(text) for text in row["neg_expression"]),
    )
