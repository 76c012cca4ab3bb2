"""Sets about a part of an image, and texts that grow: SORCE-1K, REIRCOCO, ILIAS, RefCOCO, HiMo, POPE."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..canonical import Box, Captions, Case, Ladder, Question, Row
from ..reading import Data, Layout, Options, each, inside, read_json, read_lines, text, texts
from .parquet import Cells, entries, files

_THERE = re.compile(r"Is there (an? .+) in the im\w+\?")
_TRAIN2014 = ("coco/train2014", "coco/images/train2014", "coco/images")


def sorce(path: Path, _: Options) -> Iterator[Captions]:
    """Yield the rows of SORCE-1K."""
    yield from each(path, read_lines(path), lambda _, row: Captions(text(row["image"]), (text(row["caption"]),)))


def reircoco(path: Path, _: Options) -> Iterator[Captions]:
    """Yield an image and the first of its expressions."""

    def row(_: object, image: Any) -> Captions:
        return Captions(text(image["file_name"]), (text(image["expressions"][0]),))

    yield from each(path, enumerate(read_json(path)["images"]), row)


def ilias(path: Path, _: Options) -> Iterator[Case]:
    """Yield a query a row: its text, its image first among `images`, and behind it the candidates that are right."""

    def row(number: object, entry: Any) -> Case:
        queries = texts(entry["queries"])
        return Case(str(number), (*queries[:1], *texts(entry["candidates"])), (text(entry["query_text"]),), ())

    yield from each(path, enumerate(read_json(path)), row)


def refcoco_parquet(path: Path, options: Options) -> Data:
    """Return the boxes of the hub's Parquet files, with the expressions about each."""
    images = Cells()
    rows: list[Row] = []
    for file in _of_split(path, options["split"]):
        for entry in entries(file, ["bbox", "answer", "file_name"], {"image": ""}):
            name = inside(text(entry.values["file_name"]))
            images.where.setdefault(name, entry.where("image"))
            x, y, width, height = entry.values["bbox"]
            rows.append(Box(name, (x, y, width, height), texts(entry.values["answer"])))
    return Data(rows=tuple(rows), images=images)


def refcoco_json(path: Path, _: Options) -> Iterator[Box]:
    """Yield the boxes of a list of {"file_name", "bbox", "expressions"}."""

    def row(_: object, entry: Any) -> Box:
        x, y, width, height = entry["bbox"]
        return Box(text(entry["file_name"]), (x, y, width, height), texts(entry["expressions"]))

    yield from each(path, enumerate(read_json(path)), row)


def himo(path: Path, _: Options) -> Iterator[Ladder]:
    """Yield an image and its growing texts. The file is JSON Lines, whatever its name says."""
    yield from each(path, read_lines(path), lambda _, row: Ladder(text(row["img_path"]), texts(row["caption"])))


def pope(path: Path, _: Options) -> Iterator[Question]:
    """Yield the questions."""
    yield from each(path, read_lines(path), _question)


def pope_as_choice(path: Path, _: Options) -> Iterator[Case]:
    """Yield each question as a choice between a photo of a thing and a photo without it."""

    def row(_: object, entry: Any) -> Case:
        asked = _THERE.fullmatch(text(entry["text"]))
        if asked is None:
            raise ValueError(f"'{entry['text']}' does not ask whether a thing is there")
        there, absent = f"a photo of {asked[1]}", f"a photo without {asked[1]}"
        right, wrong = (there, absent) if entry["label"] == "yes" else (absent, there)
        return Case(str(entry["question_id"]), (text(entry["image"]),), (right,), (wrong,), text(entry["label"]))

    yield from each(path, read_lines(path), row)


def _question(_: object, entry: Any) -> Question:
    return Question(text(entry["image"]), text(entry["text"]), text(entry["label"]))


def _of_split(folder: Path, split: str) -> list[Path]:
    named = [path for path in files(folder) if path.name.lower().startswith(f"{split.lower()}-")]
    if not named:
        raise ValueError(f"{folder} has no {split}-*.parquet. Get that split.")
    return named


SORCE = (
    Layout(
        "as downloaded",
        ("sorce-1k/dataset.jsonl", "sorce/sorce_1k_dataset.jsonl"),
        sorce,
        ("sorce-1k/{images}", "sorce/{images}"),
        '{"image": "sa_1922.jpg", "caption": "A yellow lollipop ...", "bbox": [[10, 20, 60, 40]]}',
    ),
)
REIRCOCO = (
    Layout(
        "as downloaded",
        ("reircoco/reircoco_val.json",),
        reircoco,
        _TRAIN2014,
        '{"images": [{"file_name": "COCO_train2014_000000000007.jpg", "expressions": ["A red mug."]}]}',
    ),
)
ILIAS = (
    Layout(
        "ObjEmbed's",
        ("ilias/ilias_data.json",),
        ilias,
        ("ilias/images", "ilias"),
        '[{"query_text": "a blue jug", "queries": ["q/1.jpg"], "candidates": ["c/1.jpg", "c/2.jpg"]}]',
    ),
)
REFCOCO = (
    Layout(
        "Parquet of the hub",
        ("{family}/data", "{family}/parquet"),
        refcoco_parquet,
        _TRAIN2014,
        "val-00000-of-00001.parquet: columns image, answer, bbox [x, y, w, h], file_name",
    ),
    Layout(
        "a list",
        ("{family}/{split}.json",),
        refcoco_json,
        _TRAIN2014,
        '[{"file_name": "COCO_train2014_000000000007.jpg", "bbox": [10, 20, 60, 40], "expressions": ["the left man"]}]',
    ),
)
HIMO = (
    Layout(
        "HiMo-CLIP's",
        ("himo/himo_docci_data.json", "docci/himo_docci_data.json"),
        himo,
        ("docci/images", "docci/test_images", "docci"),
        '{"img_path": "test_00000.jpg", "caption": ["A street.", "A street. It is wet."], "raw_caption": ".."}',
    ),
)
_POPE = ("pope/coco_pope_{set}.json",)
_VAL2014 = ("coco/val2014", "coco/images/val2014", "coco/images")
POPE = (
    Layout(
        "as downloaded",
        _POPE,
        pope,
        _VAL2014,
        '{"question_id": 1, "image": "COCO_val2014_000000000007.jpg", '
        '"text": "Is there a cat in the image?", "label": "no"}',
    ),
)
POPE_AS_CHOICE = (Layout("as downloaded", _POPE, pope_as_choice, _VAL2014, POPE[0].example),)
