"""Read, decode and embed pictures: from entries of a source to rows of an index."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...data.images import ImageTransform, stored_size
from ...encoder import Encoder
from ...encoder.proposals import propose_regions
from ..sources import Entry
from ..store import ImageFeatures, Layout, row_batch
from ..token_sets import to_int8, token_set

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


def encode_rows(encoder: Encoder, layout: Layout, pictures: Sequence[Loaded]) -> tuple[Any, dict[str, str]]:
    """Build rows of pictures, ready to write, and the reason for each that the model could not take.

    Args:
        encoder: Of the index's model.
        layout: Of the index.
        pictures: At most a batch.

    Returns:
        A pyarrow table in the order of the pictures, and reasons by path.
    """
    broken: dict[str, str] = {}
    try:
        features = image_features(encoder, layout, pictures) if pictures else []
    except ValueError:  # one of them is bad: find out which, so that the others are not lost
        features, good = [], []
        for picture in pictures:
            try:
                features += image_features(encoder, layout, [picture])
                good.append(picture)
            except ValueError as error:
                broken[picture.entry.path] = str(error)
        pictures = good
    metadata: dict[str, list[Any]] = {
        "id": [picture.entry.id for picture in pictures],
        "path": [picture.entry.path for picture in pictures],
        "bytes": [len(picture.data) for picture in pictures],
        "modified": [picture.entry.modified for picture in pictures],
        "hash": [picture.hash for picture in pictures],
        "width": [picture.size[0] for picture in pictures],
        "height": [picture.size[1] for picture in pictures],
        "caption": [picture.caption for picture in pictures],
        "thumbnail": [picture.thumbnail for picture in pictures],
    }
    return row_batch(layout, metadata, features), broken


def image_features(encoder: Encoder, layout: Layout, pictures: Sequence[Loaded]) -> list[ImageFeatures]:
    """Encode pictures and return their features, in the precision that is stored.

    Raises:
        ValueError: If a picture cannot be decoded.
    """
    encoded = encoder.encode_images_fully([picture.data for picture in pictures], tokens=True, patches=True)
    assert encoded.tokens is not None and encoded.token_mask is not None and encoded.patches is not None
    parts = zip(pictures, encoded.embedding, encoded.patches, encoded.tokens, encoded.token_mask, strict=True)
    features = []
    for picture, embedding, grid, tokens, mask in parts:
        regions, boxes = propose_regions(grid[None], layout.regions)
        if encoder.transform.mode == "crop":
            boxes = uncropped(boxes, *picture.size)
        features.append(
            ImageFeatures(
                embedding.numpy().astype(np.float16),
                to_int8(token_set(tokens[mask], layout.tokens)),
                regions[0].numpy().astype(np.float16),
                boxes[0].numpy(),
            )
        )
    return features


def uncropped(boxes: Float[Tensor, "*boxes 4"], width: int, height: int) -> Float[Tensor, "*boxes 4"]:
    """Map boxes in the square in the middle of an image to boxes in the image."""
    side = min(width, height)
    shares = torch.tensor([side / width, side / height] * 2)
    return 0.5 + (boxes - 0.5) * shares


def _small(data: bytes, side: int) -> tuple[tuple[int, int], bytes]:
    """Return size and thumbnail of the upright picture. Decoding it is also the test that the picture is whole."""
    most = (side // GRAIN) ** 2 * 3 // 4  # a picture of 4 : 3 comes out with the longer side
    view = ImageTransform(mode="native", patch_size=GRAIN, max_patches=most)(data)
    small = BytesIO()
    Image.fromarray(view.pixels).save(small, "JPEG", quality=QUALITY)
    width, height = stored_size(data)
    rows, columns = view.pixels.shape[:2]
    if (width - height) * (columns - rows) < 0:  # EXIF says that it was held sideways
        width, height = height, width
    return (width, height), small.getvalue()
