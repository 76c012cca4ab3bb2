"""JSON of people, read whole, or item by item where one long list outgrows memory."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .fields import shown

CHUNK = 1 << 20
LONGEST = 1 << 26
"""Bytes of one item at most. Without an end, a damaged item would draw the rest of the file into memory."""

_BOM = "\ufeff".encode().decode("latin-1")
_BETWEEN = re.compile(r"[ \t\r\n,]*")


def parsed(content: bytes) -> Any:
    """Return what JSON says.

    Raises:
        ValueError: If it is no JSON, or nested deeper than anybody means.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parsed_object(content: bytes) -> Mapping[str, Any]:
    """Return the object that JSON holds.

    Raises:
        ValueError: If it holds none.
    """
    row = parsed(content)
    if not isinstance(row, Mapping):
        raise ValueError(f"{shown(row)} is no object with fields")  # noqa: TRY004  # a user's mistake
    return row


def read_json(path: Path) -> Any:
    """Return what a JSON file says.

    Raises:
        ValueError: If it is no JSON. The message names the file.
    """
    try:
        return parsed(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}. Is it whole?") from error


def scan_items(path: Path, chunk: int = CHUNK) -> Iterator[tuple[int, bytes]]:
    """Yield the first byte of each item of a list, and the item's bytes, which `json.loads` reads.

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
        if text.startswith(_BOM):
            text = text.replace(_BOM, " " * len(_BOM), 1)
        if not text.lstrip().startswith("["):
            raise ValueError(f"{path}: not a JSON list")
        start, position = 0, text.index("[") + 1
        while True:
            position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
            if text.startswith("]", position):
                return
            end, problem = _item_end(text, position)
            if not problem:
                yield start + position, text[position:end].encode("latin-1")
                position, number = end, number + 1
                continue
            more = file.read(chunk).decode("latin-1")
            if not more or len(text) - position > LONGEST:
                raise ValueError(f"{path}: item {number}: {problem}")
            start, text, position = start + position, text[position:] + more, 0


def read_item(path: Path, start: int, end: int) -> bytes:
    """Return the item between two bytes."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


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


def _item_end(text: str, position: int) -> tuple[int, str]:
    """Return the end of the item that begins at a position, and the problem with what has been read of it."""
    try:
        end = json.JSONDecoder().raw_decode(text, position)[1]
    except json.JSONDecodeError as error:
        return position, error.msg
    except RecursionError:
        return position, "nested too deeply"
    if end == len(text):
        return end, "the list has no end"
    # where only half a number has been read, the other half follows
    return end, "" if text[end] in " \t\r\n,]" else f"no comma but {text[end]!r} behind it"
