"""Features of images as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ...types import Box
from .arrow import lengths_of
from .layout import Layout
from .tensors import matrix, padded_rows, unit_rows


@dataclass(frozen=True)
class Features:
    """Features of images, as tensors.

    Attributes:
        embedding: Of each whole image.
        tokens: Of each token set; smaller sets repeat their last, which changes no maximum.
        token_mask: True where a token is real.
        regions: Of each box; images with fewer boxes repeat their first, which changes no maximum.
        region_mask: True where a region is real.
        boxes: Of each region, (x0, y0, x1, y1) in fractions of the image.
    """

    embedding: Float[Tensor, "N E"]
    tokens: Float[Tensor, "N S _t"]
    token_mask: Bool[Tensor, "N S"]
    regions: Float[Tensor, "N R E"]
    region_mask: Bool[Tensor, "N R"]
    boxes: Float[Tensor, "N R 4"]

    @classmethod
    def of(cls, rows: Any, layout: Layout) -> "Features":
        """Return rows of a table as tensors. Without their columns, embeddings are zeros, and there are no regions."""
        count, has = len(rows), set(rows.column_names)
        embedding, tokens = torch.zeros(1).expand(count, layout.embed_width), torch.zeros(1)
        mask, boxes = torch.zeros(count, 0, dtype=torch.bool), torch.zeros(count, 0, 4)
        regions = torch.zeros(count, 0, layout.embed_width)
        if "embedding" in has:
            embedding = matrix(rows["embedding"], layout.embed_width)
        if "tokens" in has:
            tokens = unit_rows(rows["tokens"], layout.tokens, layout.token_width)
        if "regions" in has:
            lengths = torch.from_numpy(lengths_of(rows["regions"]))
            mask = torch.arange(int(lengths.max()) if count else 0) < lengths[:, None]
            regions = F.normalize(padded_rows(rows["regions"], mask.shape[1], layout.embed_width), dim=-1)
            boxes = padded_rows(rows["boxes"], mask.shape[1], 4)
        sets = count, layout.tokens, layout.token_width
        if "tokens" not in has:
            return cls(embedding, tokens.expand(sets), torch.ones(sets[:2], dtype=torch.bool), regions, mask, boxes)
        tokens = tokens.view(sets)
        return cls(embedding, tokens, _without_repeats(tokens), regions, mask, boxes)

    def __len__(self) -> int:
        return len(self.embedding)

    def select(self, places: Tensor) -> "Features":
        """Return the features of some of the images, by number or by mask."""
        return Features(
            self.embedding[places],
            self.tokens[places],
            self.token_mask[places],
            self.regions[places],
            self.region_mask[places],
            self.boxes[places],
        )


def as_box(numbers: Sequence[float] | Tensor) -> Box:
    """Return four numbers as a box."""
    x0, y0, x1, y1 = (float(number) for number in numbers)
    return x0, y0, x1, y1


def _without_repeats(tokens: Float[Tensor, "N S _t"]) -> Bool[Tensor, "N S"]:
    """Return the mask of each set's members but for repeats of the last one, which fill a set up."""
    differs = (tokens[:, 1:] != tokens[:, :-1]).any(dim=2)
    later = differs.flip(1).cummax(dim=1).values.flip(1)  # some member from here on differs from the one before it
    return torch.cat([torch.ones_like(tokens[:, :1, 0], dtype=torch.bool), later], dim=1)
