"""DCI: a short and an extra caption of 7,805 photos of SA-1B, which people join in several ways."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..canonical import Captions
from ..reading import Layout, Options, each, read_json, text
from .pairs import filename_and_caption, table


def annotations(folder: Path, options: Options) -> Iterator[Captions]:
    """Yield one row per annotation file: the wanted captions, joined by `separator`."""
    names = _split(folder.parent / "splits.json", options.get("split"))
    separator = options.get("separator", "")

    def row(_: object, entry: Any) -> Captions | None:
        caption = text(entry["extra_caption"])
        if options.get("short"):
            caption = text(entry["short_caption"]) + separator + caption
        return None if not caption and options.get("drop_empty") else Captions(text(entry["image"]), (caption,))

    for path in folder.glob("*.json"):
        if names is None or path.name in names:
            yield from each(path, [(path.name, read_json(path))], row)


def long_dci(path: Path, _: Options) -> Iterator[Captions]:
    """Yield the rows of TULIP's table."""
    return table(path, "\t", "filepath", "title")


def _split(path: Path, name: str | None) -> set[str] | None:
    return None if name is None else set(read_json(path)[name])


IMAGES = (
    "dci/densely_captioned_images/photos",
    "densely_captioned_images/photos",
    "sa/sa_000138",
    "sa_000138",
    "dci/images",
)
DOWNLOADED = Layout(
    "as downloaded",
    ("dci/densely_captioned_images/annotations", "densely_captioned_images/annotations"),
    annotations,
    IMAGES,
    '112956-data.json: {"image": "sa_1545000.jpg", "short_caption": "A pump.", "extra_caption": "The pump stands ..."}',
)

LAYOUTS = (DOWNLOADED,)
LONG = (
    DOWNLOADED,
    Layout(
        "TULIP's",
        ("dci/dci_long.csv",),
        long_dci,
        IMAGES,
        "filepath<TAB>title in the first line, then photos/sa_1545000.jpg<TAB>The pump stands ...",
    ),
)
GOAL = (
    Layout(
        "GOAL's",
        ("dci/DCI_test.json",),
        filename_and_caption,
        IMAGES,
        '[{"filename": "any/prefix/sa_1543972.jpg", "caption": "A pump ..."}]',
    ),
)
