"""Boxes with classes: COCO, LVIS, panoptic COCO, OpenImages, and FG-CLIP 2's Chinese boxes."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ....data.classes import ov_coco
from ...classification import imagenet_prompts
from ..canonical import Box, Label
from ..names import lvis_names
from ..reading import Data, Layout, Options, each, text

_SIZE = 10_000  # OpenImages gives fractions; so many pixels stand for a side


def instances(path: Path, options: Options) -> Data:
    """Return the boxes of `images`, `annotations` and `categories` as COCO writes them, crowds included.

    Boxes may also stand inside each image's entry, under `boxes`.
    """
    content = _without_masks(path)
    names = _names(path, content)
    images = {entry["id"]: entry for entry in _part(path, content, "images")}

    def row(_: object, entry: Any) -> Box | None:
        image = images[entry["image_id"]]
        name = _file_name(image)
        if options.get("only") and not name.startswith(f"{options['only']}/"):
            return None
        return _box(name, entry["bbox"], names[entry["category_id"]], image)

    rows = tuple(each(path, enumerate(_boxes(path, content)), row))
    if options.get("classes") == "ov-coco":  # the other 15 of COCO do not exist in that task
        asked = (*ov_coco()[0], *ov_coco()[1])
        return Data(tuple(box for box in rows if box.right[0] in asked), classes=asked, prompts=_prompts(options))
    return Data(rows=rows, classes=tuple(names.values()), prompts=_prompts(options))


def panoptic(path: Path, options: Options) -> Data:
    """Return the boxes of all segments, of things and of stuff."""
    content = _without_masks(path)
    names = _names(path, content)
    images = {entry["id"]: entry for entry in _part(path, content, "images")}
    segments = (
        {"image_id": entry["image_id"], **segment}
        for entry in _part(path, content, "annotations")
        for segment in entry["segments_info"]
    )

    def row(_: object, entry: Any) -> Box:
        image = images[entry["image_id"]]
        return _box(_file_name(image), entry["bbox"], names[entry["category_id"]], image)

    rows = tuple(each(path, enumerate(segments), row))
    return Data(rows=rows, classes=tuple(names.values()), prompts=_prompts(options))


def open_images(path: Path, options: Options) -> Data:
    """Return the boxes of OpenImages' table. They are fractions there; rows have ten-thousandths of a side."""
    described = path.parent / "class-descriptions-boxable.csv"
    with described.open(encoding="utf-8", newline="") as file:
        names = dict(row[:2] for row in csv.reader(file))

    def row(_: object, entry: Any) -> Box:
        x0, x1, y0, y1 = (float(entry[edge]) * _SIZE for edge in ("XMin", "XMax", "YMin", "YMax"))
        box = (x0, y0, x1 - x0, y1 - y0)
        return Box(f"{entry['ImageID']}.jpg", box, (names[entry["LabelName"]],), size=(_SIZE, _SIZE))

    with path.open(encoding="utf-8", newline="") as file:
        rows = tuple(each(path, enumerate(csv.DictReader(file)), row))
    return Data(rows=rows, classes=tuple(names.values()), prompts=_prompts(options))


def _box(name: str, edges: Any, right: str, image: Any) -> Box:
    x, y, width, height = edges
    size = (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None
    return Box(name, (x, y, width, height), (right,), size=size)


def _file_name(image: Any) -> str:
    """The name with its split where the entry says it, as LVIS does: photos of train2017 and of val2017."""
    if "coco_url" in image and "file_name" not in image:
        return "/".join(PurePosixPath(image["coco_url"]).parts[-2:])
    return text(image.get("file_name", f"{image['id']:012d}.jpg" if isinstance(image["id"], int) else ""))


def _names(path: Path, content: Any) -> dict[int, str]:
    """Names by id, in the file's order; a "_" in a name is a space."""
    categories = _part(path, content, "categories")
    if isinstance(categories, dict):
        return {int(number): name.replace("_", " ") for number, name in categories.items()}
    return {entry["id"]: text(entry["name"]).replace("_", " ") for entry in categories}


def _boxes(path: Path, content: Any) -> Iterator[Any]:
    if "annotations" in content:
        yield from content["annotations"]
        return
    for image in _part(path, content, "images"):
        for box in image.get("boxes", ()):
            yield {"image_id": image["id"], "bbox": box["bbox"], "category_id": box["cat"]}


def _part(path: Path, content: Any, name: str) -> Any:
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"{path} has no field '{name}'. It is another file.")
    return content[name]


def _without_masks(path: Path) -> Any:
    """The content without what takes most memory and nobody measures here."""

    def kept(entry: dict[str, Any]) -> dict[str, Any]:
        entry.pop("segmentation", None)
        return entry

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_hook=kept)
    except ValueError as error:
        raise ValueError(f"{path}: not whole JSON: {error}. Get the file again.") from error


def annotations_of(path: Path) -> Any:
    """Return the content of COCO's or LVIS's file, without outlines."""
    return _without_masks(path)


def _prompts(options: Options) -> tuple[str, ...]:
    return ("{}",) if options.get("prompts") == "none" else imagenet_prompts()


def lvis(path: Path, options: Options) -> Data:
    """Return LVIS's boxes, with all 1,203 names in the order of their ids.

    Raises:
        ValueError: If the file's names are not LVIS's.
    """
    data = instances(path, options)
    if set(data.classes) - set(lvis_names()):
        raise ValueError(f"{path}: {(set(data.classes) - set(lvis_names())).pop()} is no class of LVIS v1.")
    return Data(rows=data.rows, classes=lvis_names(), prompts=data.prompts)


def photos(path: Path, options: Options) -> Data:
    """Return the photos of COCO's or LVIS's file, whose boxes are judged as a detector's: those with a class, or all.

    Of OV-COCO only photos with a box of its 65 classes count, as its files have them.
    """
    content = _without_masks(path)
    images = {entry["id"]: _file_name(entry) for entry in _part(path, content, "images")}
    if options.get("classes") == "ov-coco":
        asked = (*ov_coco()[0], *ov_coco()[1])
        names = _names(path, content)
        present = {entry["image_id"] for entry in content["annotations"] if names[entry["category_id"]] in asked}
        images = {number: name for number, name in images.items() if number in present}
    else:
        asked = lvis_names()
    names_asked = [
        name for name in images.values() if not options.get("only") or name.startswith(f"{options['only']}/")
    ]
    return Data(rows=tuple(Label(name, 0) for name in names_asked), classes=asked, prompts=_prompts(options))


_PHOTOS = ("coco/val2017", "coco/images/val2017", "coco/images")
_COCO = (
    '{"images": [{"id": 7, "file_name": "000000000007.jpg", "width": 640, "height": 480}],'
    ' "annotations": [{"image_id": 7, "bbox": [10, 20, 60, 40], "category_id": 1}],'
    ' "categories": [{"id": 1, "name": "person"}]}'
)
_PANOPTIC = (
    '{"images": [{"id": 7, "file_name": "000000000007.jpg", "width": 640, "height": 480}],'
    ' "annotations": [{"image_id": 7, "segments_info": [{"category_id": 1, "bbox": [10, 20, 60, 40]}]}],'
    ' "categories": [{"id": 1, "name": "person"}]}'
)

COCO = (
    Layout(
        "as downloaded",
        ("coco/annotations/instances_val2017.json", "coco/annotations.json"),
        instances,
        _PHOTOS,
        _COCO,
    ),
)
COCO_DETECTION = (replace(COCO[0], files=("coco/annotations/instances_val2017.json",), read=photos),)
LVIS = (
    Layout(
        "as downloaded",
        ("lvis/lvis_v1_val.json", "coco/annotations/lvis_v1_val.json"),
        lvis,
        ("coco", "coco/images"),
        "as COCO's instances; the photo's folder and name are the end of coco_url",
    ),
)
LVIS_DETECTION = (replace(LVIS[0], read=photos),)
PANOPTIC = (
    Layout(
        "as downloaded",
        ("coco/annotations/panoptic_val2017.json",),
        panoptic,
        _PHOTOS,
        _PANOPTIC,
    ),
)
OPEN_IMAGES = (
    Layout(
        "as downloaded",
        ("openimages/validation-annotations-bbox.csv",),
        open_images,
        ("openimages/validation", "openimages/images"),
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax; class-descriptions-boxable.csv: /m/011k07,Tortoise",
    ),
)
CHINESE = (
    Layout(
        "as downloaded",
        ("boxclass-cn/valid_category_data_total_zh.json",),
        instances,
        ("boxclass-cn/images", "boxclass-cn"),
        "as COCO's instances, with Chinese names",
    ),
)
