"""Contrastive losses in which texts of the same image are partial positives of one another."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import BUDGET, full_precision, in_blocks, mean_over_ranks, same_rows

Form = Literal["ce", "bce"]


@full_precision
def soft_contrastive(
    left: Float[Tensor, "M E"],
    right: Float[Tensor, "M E"],
    group: Int[Tensor, " M"],
    scale: Float[Tensor, ""],
    *,
    beta: float = 0.5,
    form: Form = "ce",
    world: World = ALONE,
    budget: int = BUDGET,
) -> Float[Tensor, ""]:
    """Push row i of `left` to row i of `right` and, with a weight of `beta`, to the other rows of its group.

    L_beta of beta-CLIP (arXiv:2512.12678). "ce": softmax cross entropy in both directions, where a row's target is 1
    for its match and `beta` for the rest of its group, normalized. "bce": a yes or no for every pair, yes within a
    group; pairs of a group that are no match weigh `beta`, all others 1; a mean over all pairs. Averaged over ranks it
    equals the loss of the whole batch.

    Args:
        left: Unit-length embeddings.
        right: Unit-length embeddings, matching `left` row by row.
        group: Equal for rows that belong together, such as texts of one image. It must mean the same on every rank.
        scale: Inverse temperature that turns a cosine into a logit.
        beta: Weight of a partial positive. 0 with "ce": InfoNCE.
        form: How the targets are compared with the logits.
        world: The ranks whose rows serve as negatives. They may bring different numbers of rows.
        budget: Bytes of logits at once. Bounds memory, never changes the result.

    Returns:
        log M with "ce" if all similarities are equal, log 2 with "bce" if all logits are zero and no pair is partial;
        zero without rows.

    Raises:
        ValueError: If `left`, `right` and `group` differ in rows.
    """
    same_rows(left=left, right=right, group=group)
    counts = world.counts(left)
    first, groups = sum(counts[: world.rank]), world.gather_uneven(group, counts)

    def losses(rows: Tensor, columns: Tensor) -> Tensor:
        def block(block_rows: Tensor, start: int) -> Tensor:
            logits = (scale * block_rows) @ columns.T
            positives = (group[start : start + len(block_rows), None] == groups).to(logits)
            match = torch.zeros_like(positives)
            match.diagonal(first + start).fill_(1)
            weights = match + beta * (positives - match)
            if form == "bce":
                pairs = F.binary_cross_entropy_with_logits(logits, positives, reduction="none")
                return ((weights + 1 - positives) * pairs).sum(dim=1) / sum(counts)
            targets = weights / weights.sum(dim=1, keepdim=True)
            return logits.logsumexp(dim=1) - (targets * logits).sum(dim=1)

        return torch.cat(in_blocks(block, rows, len(columns), budget))

    forth = losses(left, world.gather_uneven(right, counts))
    back = losses(right, world.gather_uneven(left, counts))
    return mean_over_ranks((forth + back).sum() / 2, len(left), world)
