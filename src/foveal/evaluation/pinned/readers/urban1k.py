"""Urban1k: a long caption for each of 1,000 city photos."""

from collections.abc import Iterator
from pathlib import Path

from ..canonical import Captions
from ..reading import Layout, Options, each, read_json
from .pairs import filename_and_caption, image_and_caption


def text_files(folder: Path, _: Options) -> Iterator[Captions]:
    """Yield the first line of every text file, whose name is its image's."""
    for path in folder.glob("*.txt"):
        with path.open(encoding="utf-8") as lines:
            yield Captions(f"{path.stem}.jpg", (lines.readline().rstrip("\r\n"),))


def annotations(path: Path, _: Options) -> Iterator[Captions]:
    """Yield the pairs under `annotations`."""
    rows = read_json(path)
    yield from each(path, enumerate(rows["annotations"] if isinstance(rows, dict) else rows), image_and_caption)


_FOLDERS = ("urban1k/image", "Urban1k/image", "urban1k/images", "Urban1k/images")

LAYOUTS = (
    Layout(
        "as downloaded",
        ("urban1k/caption", "Urban1k/caption"),
        text_files,
        _FOLDERS,
        "caption/1.txt, whose first line is: A tram passes a red brick house ...",
    ),
    Layout(
        "FLAIR's",
        ("urban1k/annotations/annotations.json", "Urban1k/annotations.json", "Urban1k/annotations/annotations.json"),
        annotations,
        _FOLDERS,
        '{"annotations": [{"image_id": 0, "image": "1.jpg", "caption": "A tram passes ..."}]}',
    ),
    Layout(
        "GOAL's",
        ("urban1k/urban_dataset_test.json", "Urban1k/urban_dataset_test.json"),
        filename_and_caption,
        _FOLDERS,
        '[{"filename": "any/prefix/Urban1k/image/1.jpg", "caption": "A tram passes ..."}]',
    ),
)
