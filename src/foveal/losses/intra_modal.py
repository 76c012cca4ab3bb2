"""Loss that pushes a batch's phrases apart."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import BUDGET, full_precision, in_blocks, mean_over_ranks


@full_precision
def intra_modal(
    phrases: Float[Tensor, "R E"],
    *,
    nearest: int = 10,
    same_above: float = 0.95,
    world: World = ALONE,
    budget: int = BUDGET,
) -> Float[Tensor, ""]:
    """Push each phrase away from the phrases nearest to it.

    TIC of FG-CLIP 2. As in the authors' code there is no temperature, it is a mean where the paper's equation sums,
    and phrases too alike to be told apart count with a similarity of zero instead of not at all. Phrases are
    compared within a rank; ranks are weighted by their number of phrases.

    Args:
        phrases: Unit-length embeddings.
        nearest: How many others each is pushed from, or all others where there are fewer.
        same_above: Phrases with a greater similarity are taken to mean the same.
        world: The ranks over which the loss is averaged.
        budget: Bytes of similarities at once. Bounds memory, never changes the result.

    Returns:
        Mean over phrases of log sum exp of the nearest similarities. log 10 if all are orthogonal, and zero for
        fewer than two phrases.
    """
    neighbors = min(nearest, len(phrases) - 1)

    def block(rows: Tensor, start: int) -> Tensor:
        similarity = rows @ phrases.T
        diagonal = torch.arange(len(rows), device=rows.device)[:, None] + start
        ignored = (similarity > same_above).scatter(1, diagonal, True)
        return similarity.masked_fill(ignored, 0).topk(neighbors).values.logsumexp(dim=1)

    if neighbors < 1:
        return mean_over_ranks(0 * phrases.sum(), 0, world)
    losses = torch.cat(in_blocks(block, phrases, len(phrases), budget))
    return mean_over_ranks(losses.sum(), len(phrases), world)
