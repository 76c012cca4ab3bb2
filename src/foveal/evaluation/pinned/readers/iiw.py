"""ImageInWords: very long descriptions, of three sources; and sentences of them as FLAIR cuts them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..canonical import Captions
from ..reading import Layout, Options, each, read_lines, text
from .urban1k import annotations

_SINGLE = {"IIW-400": "iiw400.jsonl", "DOCCI_Test": "iiw_docci_test.jsonl", "DCI_Test": "iiw_dci_test.jsonl"}


def folders(folder: Path, options: Options) -> Iterator[Captions]:
    """Yield the rows of the wanted sets, a folder each."""
    for name in options["sets"]:
        yield from _set(folder / name / "data.jsonl")


def files(folder: Path, options: Options) -> Iterator[Captions]:
    """Yield the rows of the wanted sets, a file each."""
    for name in options["sets"]:
        yield from _set(folder / _SINGLE[name])


def _set(path: Path) -> Iterator[Captions]:
    if not path.is_file():
        raise ValueError(f"{path} is missing. Get it from google/imageinwords, datasets/.")
    yield from each(path, read_lines(path), _row)


def _row(_: object, entry: Any) -> Captions:
    return Captions(text(entry["image/key"] if "image/key" in entry else entry["image"]), (text(entry["IIW"]),))


IMAGES = (
    "imageinwords/docci_aar",
    "imageinwords/docci",
    "imageinwords/dci",
    "docci_aar",
    "docci/images_aar",
    "docci/images",
    "dci/densely_captioned_images/photos",
)
_EXAMPLE = 'IIW-400/data.jsonl: {"image/key": "aar_test_04600", "IIW": "A clean hall ..."}'

_RENAMED = {"test_": "train_"}  # DOCCI's photos of the set lie in one split or the other

LAYOUTS = (
    Layout("as downloaded", ("imageinwords", "iiw"), folders, IMAGES, _EXAMPLE, _RENAMED),
    Layout(
        "a file each",
        ("captions",),
        files,
        IMAGES,
        "captions/iiw400.jsonl and iiw_docci_test.jsonl, lines as above",
        _RENAMED,
    ),
)
SENTENCES = (
    Layout(
        "FLAIR's",
        ("imageinwords/annotations/iiw_sentences.json", "imageinwords/annotations.json"),
        annotations,
        IMAGES,
        '{"annotations": [{"image_id": 0, "image": "docci/test_00731.jpg", "caption": "A clean hall."}]}',
    ),
)
