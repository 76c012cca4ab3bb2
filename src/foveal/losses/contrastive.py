"""Softmax contrastive loss of whole images and captions."""

from jaxtyping import Float
from torch import Tensor

from ..distributed import ALONE, World
from ._info_nce import symmetric
from ._shared import BUDGET, full_precision, same_rows


@full_precision
def contrastive(
    left: Float[Tensor, "B E"],
    right: Float[Tensor, "B E"],
    scale: Float[Tensor, ""],
    *,
    label_smoothing: float = 0.0,
    world: World = ALONE,
    budget: int = BUDGET,
) -> Float[Tensor, ""]:
    """Compute symmetric InfoNCE: row i of `left` should find row i of `right`, and the other way round.

    CLIP's loss (arXiv:2103.00020, fig. 3). Each rank scores its own rows against everyone's, block by block, so
    memory grows with the rows and not with their pairs. Averaged over ranks it equals the loss of the whole batch.

    Args:
        left: Unit-length embeddings.
        right: Unit-length embeddings, matching `left` row by row.
        scale: Inverse temperature that turns a cosine into a logit.
        label_smoothing: Share of the target that is spread over all rows. Long-CLIP has 0.1.
        world: The ranks whose rows serve as negatives; each must bring as many.
        budget: Bytes of logits at once. Bounds memory, never changes the result.

    Returns:
        Mean loss of this rank's rows. log N if all similarities are equal.

    Raises:
        ValueError: If `left` and `right` differ in rows.
    """
    same_rows(left=left, right=right)
    counts = [len(left)] * world.size
    losses = symmetric(left, right, scale, world=world, counts=counts, label_smoothing=label_smoothing, budget=budget)
    return losses.mean()
