"""Read and decode pictures: entries of a source, and what became of each."""

from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO

from PIL import Image

from ..sources import Entry

QUALITY = 80  # of thumbnails
GRAIN = 4  # thumbnails have sides of a multiple of this many pixels


@dataclass(frozen=True, eq=False)
class Loaded:
    """A picture that was read and could be decoded.

    Attributes:
        entry: What was read.
        data: The encoded picture.
        caption: Its source's text about it.
        notes: What was left out of the text and why.
        hash: Of picture and caption.
        size: Width and height of the upright picture, in pixels.
        thumbnail: A small JPEG.
    """

    entry: Entry
    data: bytes
    caption: str
    notes: tuple[str, ...]
    hash: str
    size: tuple[int, int]
    thumbnail: bytes


class Unreadable(str):
    """The reason why a file could not be read at all, which says nothing about the picture in it."""


Read = Loaded | None | str
"""A picture read: to encode, unchanged, or the reason why it is broken."""


def load(entry: Entry, known_hash: str, thumbnail: int) -> Loaded | None:
    """Read a picture; None if its content has the known hash.

    Args:
        entry: The picture.
        known_hash: Of the content that is indexed already. Empty if there is none.
        thumbnail: Longer side of the thumbnail, about.

    Raises:
        ValueError: If it cannot be decoded.
        OSError: If it cannot be read.
    """
    data, caption, notes = entry.read()
    digest = blake2b(data, digest_size=16)
    digest.update(b"\0" + caption.encode())
    if digest.hexdigest() == known_hash:
        return None
    return Loaded(entry, data, caption, notes, digest.hexdigest(), *_small(data, thumbnail))


def read_entry(entry: Entry, known_hash: str, thumbnail: int) -> Read:
    """Read a picture as `load` does, with the reason in place of the error."""
    try:
        return load(entry, known_hash, thumbnail)
    except ValueError as error:
        return str(error)
    except FileNotFoundError as error:
        return error.strerror
    except OSError as error:
        return Unreadable(error.strerror or str(error))


def _small(data: bytes, side: int) -> tuple[tuple[int, int], bytes]:
    """Return size and thumbnail of the upright picture. Decoding it is also the test that the picture is whole."""
    from ...data.images import (
        ImageTransform,
        stored_size,
    )  # these bring torch, which a picture that is unchanged does not need

    most = (side // GRAIN) ** 2 * 3 // 4  # a picture of 4 : 3 comes out with the longer side
    view = ImageTransform(mode="native", patch_size=GRAIN, max_patches=most)(data)
    small = BytesIO()
    Image.fromarray(view.pixels).save(small, "JPEG", quality=QUALITY)
    width, height = stored_size(data)
    rows, columns = view.pixels.shape[:2]
    if (width - height) * (columns - rows) < 0:  # EXIF says that it was held sideways
        width, height = height, width
    return (width, height), small.getvalue()
