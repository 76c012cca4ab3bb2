"""FG-OVD: boxes with a phrase and up to ten hard negatives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..canonical import Box
from ..reading import Layout, Options, each, read_json, read_lines, text, texts

_PHOTOS = ("coco/val2017", "coco/images/val2017", "coco/images", "coco")


def lines(path: Path, _: Options) -> Iterator[Box]:
    """Yield the rows of the files that FG-CLIP published."""

    def row(_: object, entry: Any) -> Box:
        x, y, width, height = entry["bbox"]
        return Box(
            image=text(entry["img_path"]),
            box=(x, y, width, height),
            right=texts(entry["pos_expression"]),
            wrong=texts(entry["neg_expression"]),
            size=(int(entry["width"]), int(entry["height"])),
        )

    yield from each(path, read_lines(path), row)


def lvis_form(path: Path, _: Options) -> Iterator[Box]:
    """Yield the rows of the original files, whose categories are phrases."""
    content = read_json(path)
    phrases = {entry["id"]: text(entry["name"]) for entry in content["categories"]}
    images = {entry["id"]: entry for entry in content["images"]}

    def row(_: object, entry: Any) -> Box:
        x, y, width, height = entry["bbox"]
        image = images[entry["image_id"]]
        return Box(
            image=text(image["file_name"]),
            box=(x, y, width, height),
            right=(phrases[entry["category_id"]],),
            wrong=tuple(phrases[number] for number in entry["neg_category_ids"]),
            size=(int(image["width"]), int(image["height"])),
        )

    yield from each(path, enumerate(content["annotations"]), row)


LAYOUTS = (
    Layout(
        "FG-CLIP's",
        ("fg_ovd/{file}", "fg-ovd/{file}"),
        lines,
        _PHOTOS,
        '{"img_path": "val2017/000000000007.jpg", "bbox": [10, 20, 60, 40], "pos_expression": ["A red mug."], '
        '"neg_expression": ["A blue mug."], "width": 640, "height": 480}',
    ),
)
ORIGINAL = (
    Layout(
        "as downloaded",
        ("fg_ovd/{file}", "fg-ovd/{file}", "FG-OVD/benchmarks/{file}"),
        lvis_form,
        _PHOTOS,
        '{"images": [{"id": 7, "file_name": "val2017/000000000007.jpg", "width": 640, "height": 480}], '
        '"annotations": [{"image_id": 7, "bbox": [10, 20, 60, 40], "category_id": 1, "neg_category_ids": [2]}], '
        '"categories": [{"id": 1, "name": "A red mug."}, {"id": 2, "name": "A blue mug."}]}',
    ),
)
