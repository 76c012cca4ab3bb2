"""Hinge loss of hard negatives, whose margin grows with how unlike the true text they are."""

from jaxtyping import Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import full_precision, margins, mean_over_ranks


@full_precision
def margin_negative(
    anchors: Float[Tensor, "R E"],
    positives: Float[Tensor, "R E"],
    negatives: Float[Tensor, "K E"],
    owner: Int[Tensor, " K"],
    *,
    margin: float = 0.2,
    world: World = ALONE,
) -> Float[Tensor, ""]:
    """Push each anchor to prefer its positive to each negative by margin * (1 - <positive, negative>).

    HN-CLIP (arXiv:2608.18521): a negative that says nearly the same as the true text needs to be told from it by less.
    The margin is a target and takes no gradient. Ranks are weighted by their number of negatives, so that the mean over
    ranks is the loss of the whole batch.

    Args:
        anchors: Unit-length embeddings.
        positives: Unit-length embeddings, matching `anchors` row by row.
        negatives: Unit-length embeddings of all anchors' hard negatives.
        owner: Which anchor each negative belongs to, in any order.
        margin: Of a negative that has nothing in common with the positive, in cosines.
        world: The ranks over which the loss is averaged.

    Returns:
        Mean over negatives. `margin` if anchors are as near to both sides and both sides are orthogonal; zero without
        negatives.

    Raises:
        ValueError: If anchors and positives, or negatives and owners, differ in rows.
    """
    owner = owner.long()
    lead = margins(anchors, positives, negatives, owner, anchors.new_ones(()))
    unlike = 1 - (positives[owner] * negatives).sum(dim=1).detach()
    return mean_over_ranks((margin * unlike - lead).relu().sum(), len(negatives), world)
