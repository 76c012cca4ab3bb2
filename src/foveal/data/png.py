"""PNG files without the texts and color profiles in them, of any size, which Pillow refuses beyond 1 MiB.

Its limit is one for the whole process, so it stays as it is: what nobody here reads is taken out instead.
"""

import zlib

BEGINNING = b"\x89PNG\r\n\x1a\n"
_NOT_READ = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_MAY_TURN = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Keywords of texts that may say how the picture was held."""
_MOST = 2**20  # Pillow's own limit, of one text


def lean(content: bytes) -> bytes:
    """Return a PNG without what has no bearing on its pixels; the same bytes where there is nothing of it.

    Args:
        content: A PNG, whole or not. Other bytes come back as they are.
    """
    if not content.startswith(BEGINNING) or not any(kind in content for kind in _NOT_READ):
        return content
    pieces, copied, start = [], 0, len(BEGINNING)
    while start + 8 <= len(content):
        kind, stop = content[start + 4 : start + 8], start + 12 + int.from_bytes(content[start : start + 4], "big")
        if stop <= len(content) and kind in _NOT_READ and not _matters(kind, content[start + 8 : stop - 4]):
            pieces.append(content[copied:start])
            copied = stop
        start = stop
    return b"".join([*pieces, content[copied:]]) if pieces else content


def _matters(kind: bytes, data: bytes) -> bool:
    """True if a text may say how the picture was held, and is no larger than such texts are."""
    keyword, _, rest = data.partition(b"\0")
    if kind == b"iCCP" or keyword not in _MAY_TURN:
        return False
    if kind == b"iTXt" and rest[:1] == b"\1":
        rest = rest[2:].split(b"\0", 2)[
            -1
        ]  # behind the flag and method of compression, a language and the keyword in it
    elif kind == b"zTXt":
        rest = rest[1:]
    else:
        return len(rest) <= _MOST
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(rest, _MOST)
    except zlib.error:
        return False
    return not unpacking.unconsumed_tail
