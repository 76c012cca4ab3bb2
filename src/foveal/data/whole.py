"""A check that a picture is whole, at a fraction of the time of decoding it."""

import re
from contextlib import suppress

from .images import open_upright

_START, _END, _SCAN = b"\xff\xd8", 0xD9, 0xDA
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # among pixels, but for what is part of them and restarts


def check_whole(content: bytes) -> None:
    """Raise if a picture cannot be decoded to its end.

    Most photos are JPEGs of one scan. In its pixels a decoder can fail at markers and at an early end only, which a
    search finds; the rest of the file, without its pixels, is given to the decoder. What leaves a doubt is decoded.

    Args:
        content: An encoded picture.

    Raises:
        ValueError: If it is broken, truncated, empty, too large or of no known format.
    """
    pixels = _pixels(content)
    if pixels:
        with suppress(ValueError):  # what follows says it better, as it sees all of the file
            open_upright(content[:pixels] + bytes((0xFF, _END)), 1)
            return
    open_upright(content, 1)  # as small as its decoder can: what is asked is whether it can


def _pixels(content: bytes) -> int:
    """Return the place where the pixels of a one-scan JPEG begin, if its segments fill it exactly. 0 if not."""
    position, pixels = len(_START), 0
    if not content.startswith(_START):
        return 0
    while position + 2 <= len(content) and content[position] == 0xFF:
        kind = content[position + 1]
        if kind == _END:
            return pixels if position + 2 == len(content) else 0
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        if kind == _SCAN:
            marker = _MARKER.search(content, position)
            if pixels or marker is None:
                return 0
            pixels, position = position, marker.start()
    return 0
