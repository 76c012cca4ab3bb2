"""Flickr30k: six test sets of nearly disjoint photos, and their Chinese translations."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..canonical import Captions, stem
from ..reading import Layout, Options, each, read_lines, text
from .pairs import image_and_captions, karpathy, other_tools


def hub_table(path: Path, options: Options) -> Iterator[Captions]:
    """Yield the wanted splits of `flickr_annotations_30k.csv`, whose column `raw` is a JSON list."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from each(path, enumerate(csv.DictReader(file)), lambda _, row: _hub_row(row, options))


def _hub_row(row: Any, options: Options) -> Captions | None:
    if row["split"] not in options["splits"]:
        return None
    return Captions(text(row["filename"]), tuple(map(text, json.loads(row["raw"]))))


def image_caption_lines(path: Path, _: Options) -> Iterator[Captions]:
    """Yield the rows of lines `image,caption` after a header; a caption may hold commas and no quotes."""
    with path.open(encoding="utf-8-sig") as lines:
        next(lines, None)
        for number, line in enumerate(lines, start=2):
            name, ending, caption = line.rstrip("\r\n").partition(".jpg,")
            if line.strip() and not ending:
                raise ValueError(f"{path}:{number}: no image and caption. It is another file, or damaged.")
            if ending:
                yield Captions(f"{name.strip()}.jpg", (_unquoted(caption),))


def token_file(path: Path, options: Options) -> Iterator[Captions]:
    """Yield the rows of lines `1000092795.jpg#0<TAB>text`; of the wanted ids alone, where a list of them is named."""
    wanted = _ids(path.parent / options["ids"]) if "ids" in options else None
    numbered: dict[str, list[tuple[int, str]]] = {}
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            key, tab, caption = line.rstrip("\r\n").partition("\t")
            image, mark, place = key.partition("#")
            if line.strip() and not (tab and mark and place[-1:].isdigit()):
                raise ValueError(f"{path}:{number}: not an image, #, a number, a tab and a text. It is another file.")
            if tab and (wanted is None or stem(image) in wanted):
                numbered.setdefault(image, []).append((int(place.rpartition("#")[2]), caption))
    for image, captions in numbered.items():
        yield Captions(image, tuple(caption for _, caption in sorted(captions, key=lambda pair: pair[0])))


def kaggle(path: Path, _: Options) -> Iterator[Captions]:
    """Yield the rows of `results.csv`: name, number and text, with bars between them; one of its lines lacks a bar."""
    with path.open(encoding="utf-8-sig") as lines:
        next(lines, None)
        for number, line in enumerate(lines, start=2):
            parts = [part.strip() for part in line.rstrip("\r\n").split("|", 2)]
            if len(parts) == 2 and parts[1][:1].isdigit():  # "name| 4   text"
                parts = [parts[0], parts[1][:1], parts[1][1:].strip()]
            if len(parts) != 3:
                raise ValueError(f"{path}:{number}: not name | number | text. It is another file, or damaged.")
            yield Captions(parts[0], (parts[2],))


def numbered_images(path: Path, _: Options) -> Iterator[Captions]:
    """Yield the rows of {"text_id", "text", "image_ids": [number]}, as Chinese-CLIP writes them."""

    def row(_: object, entry: Any) -> Captions:
        return Captions(f"{entry['image_ids'][0]}.jpg", (text(entry["text"]),))

    yield from each(path, read_lines(path), row)


def _ids(path: Path) -> set[str]:
    if not path.is_file():
        raise ValueError(f"{path} is missing: the ids of the split. Get it from flickr30k_entities.")
    return {line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}


def _unquoted(caption: str) -> str:
    """A caption without the quotes that a careful writer put around it."""
    if len(caption) > 1 and caption[0] == caption[-1] == '"':
        return caption[1:-1].replace('""', '"')
    return caption


IMAGES = ("flickr30k/images", "flickr30k/flickr30k-images", "flickr30k-images", "flickr30k")
_KARPATHY = Layout(
    "Karpathy's",
    ("flickr30k/dataset_flickr30k.json", "dataset_flickr30k.json"),
    karpathy,
    IMAGES,
    '{"images": [{"split": "test", "filename": "1007129816.jpg", "sentences": [{"raw": "A man."}]}]}',
)
_HUB = Layout(
    "the hub's table",
    ("flickr30k/flickr_annotations_30k.csv", "flickr_annotations_30k.csv"),
    hub_table,
    IMAGES,
    "columns raw (a JSON list), split, filename",
)
_TOKENS = Layout(
    "as downloaded",
    ("flickr30k/results_20130124.token", "results_20130124.token"),
    token_file,
    IMAGES,
    "1000092795.jpg#0<TAB>Two men stand ...",
)

ANY_SPLIT = (_KARPATHY, _HUB)
TEST = (
    _KARPATHY,
    _HUB,
    Layout(
        "CLIP_benchmark's list",
        ("flickr30k/flickr30k_test_karpathy.txt", "flickr30k_test_karpathy.txt"),
        image_caption_lines,
        IMAGES,
        "image,caption in the first line, then 1007129816.jpg,A man, with a hat.",
    ),
    Layout(
        "Salesforce's",
        ("flickr30k/flickr30k_test.json", "flickr30k/annotations/flickr30k_test.json"),
        image_and_captions,
        IMAGES,
        '[{"image": "flickr30k-images/1007129816.jpg", "caption": ["A man."]}]',
    ),
    *other_tools("wds_flickr30k", folder="flickr30k"),
)
ENTITIES = (_TOKENS,)
FULL = (
    _TOKENS,
    Layout("Kaggle's", ("flickr30k/results.csv",), kaggle, IMAGES, "1000092795.jpg| 0| Two men stand ..."),
)
CNA = (
    Layout(
        "as downloaded",
        ("flickr30k-cna/flickr30k_cna_test.txt", "flickr30k/flickr30k_cna_test.txt"),
        token_file,
        IMAGES,
        "1007129816#0<TAB>一个男人...",
    ),
)
CN = (
    Layout(
        "Chinese-CLIP's",
        ("flickr30k-cn/test_texts.jsonl", "flickr30k/flickr30k_cn_test_texts.jsonl"),
        numbered_images,
        IMAGES,
        '{"text_id": 1, "text": "一个男人", "image_ids": [1009692167]}',
    ),
)
