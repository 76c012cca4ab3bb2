"""DOCCI: 5,000 test photos with one long description each; and sentences of it as FLAIR cuts them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..canonical import Captions, stem
from ..reading import Layout, Options, each, read_lines, text
from .pairs import filename_and_caption
from .urban1k import annotations


def descriptions(path: Path, options: Options) -> Iterator[Captions]:
    """Yield the wanted splits of `docci_descriptions.jsonlines`."""
    wanted = options.get("splits", ["test"])

    def row(_: object, entry: Any) -> Captions | None:
        if entry["split"] not in wanted:
            return None
        return Captions(text(entry["image_file"]), (text(entry["description"]),))

    yield from each(path, read_lines(path), row)


def himo(path: Path, options: Options) -> Iterator[Captions]:
    """Yield the wanted splits of a JSON Lines file without a field for the split: the image's name says it."""

    def row(_: object, entry: Any) -> Captions:
        image = entry["image_file"] if "image_file" in entry else entry["image"]
        return Captions(text(image), (text(entry["description"] if "description" in entry else entry["caption"]),))

    yield from _of_splits(each(path, read_lines(path), row), options)


def goal(path: Path, options: Options) -> Iterator[Captions]:
    """Yield the wanted splits of GOAL's list, which mixes two."""
    yield from _of_splits(filename_and_caption(path, options), options)


def _of_splits(rows: Iterable[Captions], options: Options) -> Iterator[Captions]:
    """Rows whose image is named after a wanted split; "test" is not "qual_test"."""
    wanted = options.get("splits", ["test"])
    return (row for row in rows if stem(row.image).rpartition("_")[0] in wanted)


IMAGES = ("docci/images", "docci/test_images", "docci")

LAYOUTS = (
    Layout(
        "as downloaded",
        ("docci/docci_descriptions.jsonlines",),
        descriptions,
        IMAGES,
        '{"example_id": "test_00000", "split": "test", "image_file": "test_00000.jpg", "description": "A view."}',
    ),
    Layout(
        "HiMo-CLIP's",
        ("docci/test_set.jsonl",),
        himo,
        IMAGES,
        '{"image_file": "test_00000.jpg", "description": "An outdoor view."}',
    ),
    Layout(
        "GOAL's",
        ("docci/docci_test.json", "captions/docci_test_captions.json"),
        goal,
        IMAGES,
        '[{"filename": "any/prefix/test_00000.jpg", "caption": "An outdoor view ..."}]',
    ),
)

SENTENCES = (
    Layout(
        "FLAIR's",
        ("docci/annotations/test_annotations.json",),
        annotations,
        IMAGES,
        '{"annotations": [{"image_id": 0, "image": "test_00000.jpg", "caption": "An outdoor view."}]}',
    ),
)
