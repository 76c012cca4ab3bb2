"""The benchmark files that people have, as samples. Pictures need not be there: whoever measures counts them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..types import Box, Negative, Region, Sample


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
        with self.path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                    name = Path(row["img_path"]).name
                    regions.setdefault(name, []).append(_fg_ovd_region(row))
                except (KeyError, TypeError, IndexError, ValueError, ZeroDivisionError) as error:
                    raise ValueError(f"{self.path}:{number}: not a region of FG-OVD: {error!r}.") from error
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
            for key, pair in _read_json(path).items():
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
        content = _read_json(self.path)
        captions: dict[int, list[str]] = {}
        try:
            for row in content["annotations"]:
                captions.setdefault(row["image_id"], []).append(row["caption"].strip())
            for row in content["images"]:
                own = tuple(captions.get(row["id"], ())[: self.most])
                yield Sample(id=str(row["id"]), image=self.pictures / row["file_name"], captions=own)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{self.path}: not captions as COCO publishes them: {error!r}.") from error


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
        content = _read_json(self.path)
        try:
            names = _category_names(content["categories"])
            boxes = _coco_boxes(content)
            for row in content["images"]:
                regions = tuple(
                    Region(fractions(box, row["width"], row["height"]), names[category])
                    for box, category in boxes.get(row["id"], ())
                )
                if regions:
                    name = row.get("file_name", f"{row['id']:012d}.jpg")
                    yield Sample(id=str(row["id"]), image=self.pictures / name, regions=regions)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{self.path}: not boxes as COCO publishes them: {error!r}.") from error

    @property
    def classes(self) -> tuple[str, ...]:
        """All class names, those without a box too."""
        return tuple(_category_names(_read_json(self.path)["categories"]).values())


def fractions(box: Sequence[float | int], width: int, height: int) -> Box:
    """(x0, y0, x1, y1) in fractions of the picture, cut at its border, of [x, y, width, height] in pixels."""
    x, y, wide, high = box
    ends = (x / width, y / height, (x + wide) / width, (y + high) / height)
    x0, y0, x1, y1 = (min(max(end, 0.0), 1.0) for end in ends)
    return x0, y0, x1, y1


def _fg_ovd_region(row: dict[str, Any]) -> Region:
    return Region(
        box=fractions(row["bbox"], row["width"], row["height"]),
        phrase=row["pos_expression"][0],
        negatives=tuple(Negative(text) for text in row["neg_expression"]),
    )


def _category_names(categories: Any) -> dict[int, str]:
    """Names by id, of COCO's list of objects or of a plain mapping. COCO's "_" in LVIS names is a space."""
    if isinstance(categories, dict):
        return {int(number): name.replace("_", " ") for number, name in categories.items()}
    return {row["id"]: row["name"].replace("_", " ") for row in categories}


def _coco_boxes(content: dict[str, Any]) -> dict[int, list[tuple[Sequence[float | int], int]]]:
    """Box and category, by picture."""
    if "annotations" in content:
        rows = [(row["image_id"], row["bbox"], row["category_id"]) for row in content["annotations"]]
    else:
        rows = [(row["id"], box["bbox"], box["cat"]) for row in content["images"] for box in row["boxes"]]
    boxes: dict[int, list[tuple[Sequence[float | int], int]]] = {}
    for picture, box, category in rows:
        boxes.setdefault(picture, []).append((box, category))
    return boxes


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}.") from error
