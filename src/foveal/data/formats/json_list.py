"""The items of a JSON file that is one long list, found piece by piece: such files outgrow memory."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

CHUNK = 1 << 20
LONGEST = 1 << 26
"""Bytes of one item at most. Without an end, a damaged item would draw the rest of the file into memory."""

_BETWEEN = re.compile(r"[ \t\r\n,]*")


def scan_items(path: Path, chunk: int = CHUNK) -> Iterator[tuple[int, bytes]]:
    """The first byte of each item of a list, and the item's bytes, which `json.loads` reads.

    Args:
        path: A file that holds one JSON list.
        chunk: Bytes read at once.

    Raises:
        ValueError: If it is no list, an item is no JSON or the list breaks off. The message names file and item.
    """
    number = 0
    with path.open("rb") as file:
        # one character a byte, so that places in the text are places in the file; JSON's own signs are ASCII
        text = file.read(chunk).decode("latin-1")
        if not text.lstrip().startswith("["):
            raise ValueError(f"{path}: not a JSON list")
        start, at = 0, text.index("[") + 1
        while True:
            at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if text.startswith("]", at):
                return
            end, problem = _item_end(text, at)
            if not problem:
                yield start + at, text[at:end].encode("latin-1")
                at, number = end, number + 1
                continue
            more = file.read(chunk).decode("latin-1")
            if not more or len(text) - at > LONGEST:
                raise ValueError(f"{path}: item {number}: {problem}")
            start, text, at = start + at, text[at:] + more, 0


def index_items(path: Path) -> Int[np.ndarray, "n 2"]:
    """First byte, and byte past the last, of each item of a list.

    Raises:
        ValueError: If it is no list, an item is no JSON or the list breaks off. The message names file and item.
    """
    spans = [(start, start + len(item)) for start, item in scan_items(path)]
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def read_item(path: Path, start: int, end: int) -> Any:
    """The item between two bytes."""
    with path.open("rb") as file:
        file.seek(start)
        return json.loads(file.read(end - start))


def write_items(path: Path, items: Iterator[Any]) -> int:
    """Write a list, an item a line. Returns how many there were."""
    written = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for item in items:
            file.write((",\n" if written else "\n") + json.dumps(item, ensure_ascii=False))
            written += 1
        file.write("\n]\n")
    return written


def _item_end(text: str, at: int) -> tuple[int, str]:
    """The place past the item that begins at `at`, and what is wrong with it as far as it has been read."""
    try:
        end = json.JSONDecoder().raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        return at, error.msg
    if end == len(text):
        return end, "the list has no end"
    # where only half a number has been read, the other half follows
    return end, "" if text[end] in " \t\r\n,]" else f"no comma but {text[end]!r} behind it"
