"""Softmax loss of all anchors' hard negatives together."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ._info_nce import one_way
from ._shared import full_precision, mean_over_ranks, same_rows


@full_precision
def pooled_negatives(
    anchors: Float[Tensor, "R E"],
    positives: Float[Tensor, "R E"],
    negatives: Float[Tensor, "K E"],
    owner: Int[Tensor, " K"],
    scale: Float[Tensor, ""],
    *,
    world: World = ALONE,
) -> Float[Tensor, ""]:
    """Push each anchor to find its positive among all positives and negatives, and each positive its anchor.

    CON in the code of FG-CLIP 2; the paper does not have it. Where `hard_negative` sets an anchor's own negatives
    against it, this sets everyone's. Anchors without negatives take no part. Texts are pooled within a rank; ranks
    are weighted by their number of anchors that take part.

    Args:
        anchors: Unit-length embeddings.
        positives: Unit-length embeddings, matching `anchors` row by row.
        negatives: Unit-length embeddings of all anchors' hard negatives.
        owner: Which anchor each negative belongs to, in any order.
        scale: Inverse temperature that turns a cosine into a logit.
        world: The ranks over which the loss is averaged.

    Returns:
        Mean over the A anchors with negatives of both directions' mean. (log(A + K) + log A) / 2 if all
        similarities are equal, zero if there are none.

    Raises:
        ValueError: If anchors and positives, or negatives and owners, differ in rows.
    """
    same_rows(anchors=anchors, positives=positives)
    same_rows(negatives=negatives, owner=owner)
    taking_part = owner.long().unique()
    anchors, positives = anchors[taking_part], positives[taking_part]
    forth = one_way(anchors, torch.cat([positives, negatives]), scale)
    back = one_way(positives, anchors, scale)
    return mean_over_ranks((forth + back).sum() / 2, len(taking_part), world)
