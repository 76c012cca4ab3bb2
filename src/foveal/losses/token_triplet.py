"""Triplet loss of token sets under late interaction."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ..similarity import clim
from ._shared import same_rows


def token_triplet(
    text_tokens: Float[Tensor, "B T E"],
    image_tokens: Float[Tensor, "B S E"],
    text_mask: Bool[Tensor, "B T"] | None = None,
    image_mask: Bool[Tensor, "B S"] | None = None,
    *,
    image_id: Int[Tensor, " B"] | None = None,
    margin: float = 0.2,
    leak: float = 0.1,
    hardest: bool = False,
    reduction: Literal["sum", "mean"] = "sum",
    world: World = ALONE,
) -> Float[Tensor, ""]:
    """Push a text and its image closer, token by token, than either is to any other, by a margin.

    FineLIP's loss (CVPR 2025) on its late interaction `similarity.clim`, the sum over all negatives as in the
    authors' code; `hardest` keeps each row's and each column's worst (VSE++, arXiv:1707.05612). Every rank compares
    its own texts with everyone's images and gives the loss of the whole batch, so that gradients averaged over ranks
    are those of one process with the whole batch, for either reduction.

    Args:
        text_tokens: Unit-length token embeddings.
        image_tokens: Unit-length token embeddings, matching `text_tokens` set by set.
        text_mask: True where a token is real. Without it all are.
        image_mask: True where a token is real. Without it all are.
        image_id: Equal for the same image, whose texts are then no negatives. It must mean the same on every rank.
        margin: On the scale of `clim`, whose greatest value is 2.
        leak: Slope of the LeakyReLU in `clim`.
        hardest: Take only the worst negative of each text and each image.
        reduction: "sum" as published, or "mean" over the negatives taken.
        world: The ranks whose sets serve as negatives; each must bring as many sets.

    Returns:
        Loss of the whole batch. If all similarities are equal, 2 * margin per negative: that times N * (N - 1)
        as a sum of all, times N as a sum of the hardest.

    Raises:
        ValueError: If texts and images differ in number, or a set has no real token.
    """
    same_rows(text_tokens=text_tokens, image_tokens=image_tokens)
    images, masks = _gather_sets(image_tokens, image_mask, world)
    similarity = world.gather(clim(text_tokens, images, text_mask, masks, leak=leak))  # (N, N)
    if image_id is None:
        positives = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    else:
        every_id = world.gather(image_id)
        positives = every_id[:, None] == every_id
    match = similarity.diagonal()
    by_text = (margin + similarity - match[:, None]).relu().masked_fill(positives, 0)
    by_image = (margin + similarity - match).relu().masked_fill(positives, 0)
    if hardest:
        by_text, by_image = by_text.amax(dim=1), by_image.amax(dim=0)
    total = (by_text + by_image).sum()
    if reduction == "sum":
        return total
    negatives = (~positives).any(dim=1) if hardest else ~positives
    return total / negatives.sum().clamp(min=1)


def _gather_sets(tokens: Tensor, mask: Tensor | None, world: World) -> tuple[Tensor, Tensor | None]:
    """Gather token sets of every rank; ranks may have padded theirs to different lengths."""
    if world.size == 1:
        return tokens, mask
    size, length = tokens.shape[:2]
    padding = max(world.counts(tokens.transpose(0, 1))) - length
    real = tokens.new_ones(size, length) if mask is None else mask.to(tokens)
    return world.gather(F.pad(tokens, (0, 0, 0, padding))), world.gather(F.pad(real, (0, padding))) > 0
