"""Where the words of a prompt look: cross-attention maps of a UNet, taken while it draws."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .pipeline import Pipeline

GRID = 32


@dataclass
class Maps:
    """The mean cross-attention of all layers, heads and steps of one picture.

    Attributes:
        total: Sum over layers and steps, of each patch to each token.
        count: How many were added.
    """

    total: Float[Tensor, "Y X L"] | None = None
    count: int = 0

    def add(self, weights: Float[Tensor, "P L"]) -> None:
        """Add one layer's attention at one step. Patches are those of a square picture, in reading order."""
        side = round(len(weights) ** 0.5)
        grid = weights.T.unflatten(1, (side, side))[None]
        grid = F.interpolate(grid, (GRID, GRID), mode="bilinear", antialias=side > GRID)[0].permute(1, 2, 0)
        self.total = grid if self.total is None else self.total + grid
        self.count += 1

    def mean(self) -> Float[Tensor, "Y X L"]:
        """Return the mean, whose sum over tokens is 1 in every patch.

        Raises:
            ValueError: If nothing was added.
        """
        if self.total is None:
            raise ValueError("This pipeline has no cross-attention of a UNet, so there are no maps of its words.")
        return self.total / self.count


@dataclass
class _Reading:
    """An attention processor that computes as another does, and hands its weights on."""

    processor: Any
    maps: Maps = field(repr=False)

    def __call__(
        self,
        attention: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        *args: Any,
        **settings: Any,
    ) -> Tensor:
        if encoder_hidden_states is not None:
            query = attention.head_to_batch_dim(attention.to_q(hidden_states[-1:]))  # the last one is the prompt's
            key = attention.head_to_batch_dim(attention.to_k(encoder_hidden_states[-1:]))
            self.maps.add(attention.get_attention_scores(query, key).float().mean(dim=0).cpu())
        return self.processor(attention, hidden_states, encoder_hidden_states, *args, **settings)


@contextmanager
def read_attention(pipeline: Pipeline) -> Iterator[Maps]:
    """Collect the cross-attention of what a pipeline draws meanwhile, which stays the same picture.

    Args:
        pipeline: With a UNet. Others give no maps.
    """
    maps = Maps()
    unet = getattr(pipeline, "unet", None)
    if unet is None:
        yield maps
        return
    before = dict(unet.attn_processors)
    unet.set_attn_processor(
        {name: _Reading(processor, maps) if ".attn2." in name else processor for name, processor in before.items()}
    )
    try:
        with torch.no_grad():
            yield maps
    finally:
        unet.set_attn_processor(before)
