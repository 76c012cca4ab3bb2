"""The columns of the table of pictures, and rows for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrow import fixed_lists

FEATURES = ("embedding", "tokens", "regions", "boxes")
METADATA = ("id", "path", "width", "height", "caption")
SCORES_VERSION = 2
"""Raised where a score changes that an index's baselines were measured with, so that they are measured again."""
ID = "S24"  # ids are 24 hexadecimal digits


@dataclass(frozen=True)
class Layout:
    """Sizes of the columns that an index holds of each image. Fixed when it is made.

    Attributes:
        embed_width: Numbers in an embedding, stored as float16.
        token_width: Numbers in a token, stored as int8.
        tokens: Members of a token set; smaller sets repeat their last.
        regions: Most boxes with embeddings, the whole picture among them.
        thumbnail: Longer side of thumbnails, in pixels, about.
    """

    embed_width: int
    token_width: int
    tokens: int = 16
    regions: int = 12
    thumbnail: int = 256


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Features of one image, in the precision that is stored.

    Attributes:
        embedding: float16, of the whole image.
        tokens: int8, the token set.
        regions: float16, one row per box.
        boxes: float32, (x0, y0, x1, y1) in fractions of the image.
    """

    embedding: np.ndarray
    tokens: np.ndarray
    regions: np.ndarray
    boxes: np.ndarray


def schema(layout: Layout) -> Any:
    """Return the columns of the table of pictures."""
    import pyarrow as pa

    return pa.schema(
        {
            "id": pa.string(),
            "path": pa.string(),
            "bytes": pa.int64(),
            "modified": pa.int64(),
            "hash": pa.string(),
            "width": pa.int32(),
            "height": pa.int32(),
            "caption": pa.string(),
            "thumbnail": pa.binary(),
            "embedding": pa.list_(pa.float16(), layout.embed_width),
            "tokens": pa.list_(pa.int8(), layout.tokens * layout.token_width),
            "regions": pa.list_(pa.list_(pa.float16(), layout.embed_width)),
            "boxes": pa.list_(pa.list_(pa.float32(), 4)),
        }
    )


def row_batch(layout: Layout, metadata: dict[str, list[Any]], features: Sequence["ImageFeatures"]) -> Any:
    """Build a pyarrow table of a layout's `schema`.

    Args:
        layout: The index's.
        metadata: The plain columns.
        features: Of each image.
    """
    import pyarrow as pa

    if not features:
        return schema(layout).empty_table()

    ends = np.cumsum([0, *(len(image.boxes) for image in features)]).astype(np.int32)
    regions = fixed_lists(np.concatenate([image.regions for image in features]), layout.embed_width)
    boxes = fixed_lists(np.concatenate([image.boxes for image in features]), 4)
    columns = {
        **metadata,
        "embedding": fixed_lists(np.stack([image.embedding for image in features]), layout.embed_width),
        "tokens": fixed_lists(np.stack([image.tokens for image in features]), layout.tokens * layout.token_width),
        "regions": pa.ListArray.from_arrays(pa.array(ends), regions),
        "boxes": pa.ListArray.from_arrays(pa.array(ends), boxes),
    }
    return pa.table(columns, schema=schema(layout))


def among(ids: Sequence[str]) -> str:
    """Build a filter for ids. Ids are letters and digits; others are none of an index and match nothing."""
    quoted = ", ".join(f"'{image_id}'" for image_id in ids if image_id.isalnum())
    return f"id IN ({quoted})" if quoted else "false"
