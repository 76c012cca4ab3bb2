"""Softmax loss of each anchor's own hard negatives."""

from jaxtyping import Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import full_precision, margins, mean_over_ranks


@full_precision
def hard_negative(
    anchors: Float[Tensor, "R E"],
    positives: Float[Tensor, "R E"],
    negatives: Float[Tensor, "K E"],
    owner: Int[Tensor, " K"],
    scale: Float[Tensor, ""],
    *,
    world: World = ALONE,
) -> Float[Tensor, ""]:
    """Push each anchor to prefer its positive to its own negatives, of which there may be any number.

    FG-CLIP's L_hard (arXiv:2505.05071) for regions and phrases, FGT in FG-CLIP 2; as well for images and captions.
    Anchors without negatives do not count. Negatives stay on their rank; ranks are weighted by their number of
    anchors that count, so that the mean over ranks is the loss of the whole batch.

    Args:
        anchors: Unit-length embeddings.
        positives: Unit-length embeddings, matching `anchors` row by row.
        negatives: Unit-length embeddings of all anchors' hard negatives.
        owner: Which anchor each negative belongs to, in any order.
        scale: Inverse temperature that turns a cosine into a logit.
        world: The ranks over which the loss is averaged.

    Returns:
        Mean loss of the anchors with negatives. log(1 + K) if each has K and all similarities are equal; zero if
        none has any.

    Raises:
        ValueError: If anchors and positives, or negatives and owners, differ in rows.
    """
    owner = owner.long()
    return softmax_over_owned(-margins(anchors, positives, negatives, owner, scale), owner, len(anchors), world)


def softmax_over_owned(
    lead: Float[Tensor, " K"], owner: Int[Tensor, " K"], anchors: int, world: World
) -> Float[Tensor, ""]:
    """Average, over anchors that own any, log(1 + sum of exp(lead)): a negative's lead over its anchor's positive.

    Args:
        lead: Of each negative over the positive of its anchor, in logits.
        owner: Which anchor each negative belongs to.
        anchors: How many there are.
        world: The ranks over which the loss is averaged.
    """
    top = lead.new_zeros(anchors).scatter_reduce(0, owner, lead.detach(), "amax")
    total = (-top).exp().index_add(0, owner, (lead - top[owner]).exp())
    counted = owner.new_zeros(anchors).index_fill(0, owner, 1).sum()
    return mean_over_ranks((top + total.log()).sum(), counted, world)
