"""Embed pictures: from what was read of a source to rows of an index."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...encoder import Encoder
from ...encoder.proposals import propose_regions
from ..store import ImageFeatures, Layout, row_batch
from ..token_sets import to_int8, token_set
from .read import Loaded


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
