"""Sigmoid contrastive loss of whole images and captions."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import BUDGET, full_precision, in_blocks, same_rows


@full_precision
def sigmoid_contrastive(
    left: Float[Tensor, "B E"],
    right: Float[Tensor, "B E"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
    *,
    world: World = ALONE,
    budget: int = BUDGET,
) -> Float[Tensor, ""]:
    """Ask of every pair of rows, as a yes or no: do they match?

    SigLIP's loss (arXiv:2303.15343, eq. 1), the global loss of FG-CLIP 2. Each rank judges its own rows of `left`
    against everyone's `right`, block by block. Averaged over ranks it equals the loss of the whole batch.

    Args:
        left: Unit-length embeddings.
        right: Unit-length embeddings, matching `left` row by row.
        scale: Inverse temperature that turns a cosine into a logit.
        bias: Added to every logit. SigLIP starts at -10, as nearly all pairs do not match.
        world: The ranks whose rows serve as negatives; each must bring as many.
        budget: Bytes of logits at once. Bounds memory, never changes the result.

    Returns:
        Mean over this rank's rows of their N pairs' summed loss. N * log 2 if all logits are zero.

    Raises:
        ValueError: If `left` and `right` differ in rows.
    """
    same_rows(left=left, right=right)
    columns = world.gather(right)
    first = world.rank * len(left)

    def block(rows: Tensor, start: int) -> Tensor:
        logits = (scale * rows) @ columns.T + bias
        logits.diagonal(first + start).neg_()
        return F.softplus(logits).sum(dim=1)

    return torch.cat(in_blocks(block, left, len(columns), budget)).mean()
