"""Files of pairs that several protocols come in: JSON lists, tab-separated lines, Karpathy's splits, shards, tables."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..canonical import Captions
from ..reading import Data, Layout, Options, each, read_json, text, texts
from .parquet import parquet
from .shards import shards


def image_and_caption(_: object, entry: Any) -> Captions:
    """Return the row of {"image", "caption"}; several captions come as a list."""
    return Captions(text(entry["image"]), texts(entry["caption"]))


def filename_and_caption(path: Path, _: Options) -> Iterator[Captions]:
    """Yield the rows of a list of {"filename", "caption"}, as GOAL writes them."""
    yield from each(
        path, enumerate(read_json(path)), lambda _, entry: Captions(text(entry["filename"]), texts(entry["caption"]))
    )


def image_and_captions(path: Path, _: Options) -> Iterator[Captions]:
    """Yield the rows of a list of {"image", "caption": [...]}, as Salesforce and LLM2CLIP write them."""
    yield from each(path, enumerate(read_json(path)), image_and_caption)


def karpathy(path: Path, options: Options) -> Iterator[Captions]:
    """Yield the rows of the wanted splits of `dataset_*.json`: all of a photo's sentences, or the first few."""
    wanted = options.get("splits", ["test"])
    most = options.get("captions")

    def row(_: object, image: Any) -> Captions | None:
        sentences = [text(sentence["raw"]) for sentence in image["sentences"]]
        return Captions(text(image["filename"]), tuple(sentences[:most])) if image["split"] in wanted else None

    content = read_json(path)
    yield from each(path, enumerate(content["images"] if isinstance(content, dict) else content), row)


def coco_json(path: Path, options: Options) -> Iterator[Captions]:
    """Yield the rows of `images` and `annotations` as COCO writes them: all captions, or the first few."""
    content = read_json(path)
    most = options.get("captions")
    captions: dict[Any, list[str]] = {}
    for number, entry in enumerate(_part(path, content, "annotations")):
        try:
            captions.setdefault(entry["image_id"], []).append(text(entry["caption"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: annotation {number} is no caption: {error!r}.") from error

    def row(_: object, image: Any) -> Captions | None:
        of_image = tuple(captions.get(image["id"], ())[:most])
        return Captions(text(image["file_name"]), of_image) if of_image else None

    yield from each(path, enumerate(_part(path, content, "images")), row)


def tab_separated(path: Path, _: Options) -> Iterator[Captions]:
    """Yield the rows of lines of an image, a tab and a text."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip("\r\n"):
                image, tab, words = line.rstrip("\r\n").partition("\t")
                if not tab:
                    raise ValueError(f"{path}:{number}: no tab between image and text. It is another file, or damaged.")
                yield Captions(image, (words,))


def table(path: Path, delimiter: str, image: str, caption: str) -> Iterator[Captions]:
    """Yield the rows of a table with a header.

    Args:
        path: Of the file.
        delimiter: Between its columns.
        image: Name of the column with the image.
        caption: Name of the column with the text.

    Raises:
        ValueError: If a column is not there.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter=delimiter)
        for name in (image, caption):
            if name not in (rows.fieldnames or ()):
                raise ValueError(f"{path} has no column '{name}'. It has: {', '.join(rows.fieldnames or ())}.")
        yield from each(path, enumerate(rows), lambda _, row: Captions(text(row[image]), (text(row[caption]),)))


def chosen_by_position(rows: Iterable[Captions], options: Options) -> Iterator[Captions]:
    """Yield the first rows alone, where a protocol is the first part of a file."""
    first = options.get("first")
    for number, row in enumerate(rows):
        if first is not None and number >= first:
            return
        yield row


def other_tools(*hub_names: str, folder: str) -> tuple[Layout, ...]:
    """Return the layouts in which other tools keep any retrieval set: shards of CLIP_benchmark, Parquet of the hub.

    Args:
        hub_names: What CLIP_benchmark calls its folder of shards.
        folder: The protocol's own, for Parquet files and shards.
    """

    def read_parquet(path: Path, options: Options) -> Data:
        return parquet(path, options)

    return (
        Layout(
            "CLIP_benchmark's shards",
            tuple(f"{name}/test" for name in (*hub_names, f"{folder}/wds")),
            shards,
            example="0.tar with s0000000.jpg and s0000000.txt, a caption a line; nshards.txt",
        ),
        Layout(
            "Parquet of the hub",
            (f"{folder}/parquet", f"{folder}/data"),
            read_parquet,
            example="columns image {bytes, path} and caption (a text or a list)",
        ),
    )


def _part(path: Path, content: Any, name: str) -> Any:
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"{path} has no field '{name}'. It is another file.")
    return content[name]
