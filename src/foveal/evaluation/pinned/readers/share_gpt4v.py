"""ShareGPT4V: the first rows of its captions, read without loading the 1.5 GB of the rest."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..canonical import Captions
from ..reading import Layout, Options, each, text

_CHUNK = 2**20  # characters read at once


def conversations(path: Path, options: Options) -> Iterator[Captions]:
    """Yield the first rows: the second turn of a conversation is the caption."""
    yield from each(path, first_entries(path, int(options["first"])), _row)


def first_entries(path: Path, most: int) -> Iterator[tuple[int, Any]]:
    """Yield the first entries of a JSON list, reading no further than the last of them.

    Raises:
        ValueError: If the file is no list, or ends too early. The message names file and entry.
    """
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8-sig") as file:
        text_read = file.read(_CHUNK).lstrip()
        if not text_read.startswith("["):
            raise ValueError(f"{path}: not a JSON list. It is another file.")
        text_read = text_read[1:]
        for number in range(most):
            text_read = text_read.lstrip().removeprefix(",").lstrip()
            while True:
                try:
                    entry, end = decoder.raw_decode(text_read)
                    break
                except ValueError as error:
                    more = file.read(_CHUNK)
                    if not more and text_read.strip() in ("]", ""):
                        raise ValueError(f"{path} ends after {number:,} of {most:,} entries. Get it again.") from error
                    if not more:
                        raise ValueError(f"{path}: entry {number} is cut off. Get the file again.") from error
                    text_read = (text_read + more).lstrip().removeprefix(",").lstrip()
            yield number, entry
            text_read = text_read[end:]


def _row(_: object, entry: Any) -> Captions:
    return Captions(text(entry["image"]), (text(entry["conversations"][1]["value"]),))


LAYOUTS = (
    Layout(
        "as downloaded",
        ("sharegpt4v/share-captioner_coco_lcs_sam_1246k_1107.json", "share-captioner_coco_lcs_sam_1246k_1107.json"),
        conversations,
        ("sam/images", "share4v/sa_000000/images", "sharegpt4v/sam/images", "sharegpt4v/images", "share4v"),
        '[{"id": "sa_5", "image": "sam/images/sa_5.jpg", '
        '"conversations": [{"value": "What is it?"}, {"value": "A pump."}]}]',
    ),
    Layout(
        "LoTLIP's",
        ("share4v/share4v_sam_10k.json", "sharegpt4v/share4v_sam_10k.json"),
        conversations,
        ("share4v/sa_000000/images", "sam/images", "share4v"),
        "as above, the first 10,000 entries",
    ),
)
