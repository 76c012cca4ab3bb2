"""Softmax loss of each text's hard negatives, token by token."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ..similarity import paired_late_interaction
from ._shared import same_rows
from .hard_negative import softmax_over_owned

TokenSet = tuple[Float[Tensor, "_n _t E"], Bool[Tensor, "_n _t"] | None]


def token_hard_negative(
    images: TokenSet,
    texts: TokenSet,
    negatives: TokenSet,
    owner: Int[Tensor, " K"],
    scale: Float[Tensor, ""],
    *,
    leak: float = 0.1,
    world: World = ALONE,
) -> Float[Tensor, ""]:
    """Push each image closer, token by token, to its text than to hard negatives of it.

    `hard_negative` with late interaction in place of the cosine. A swapped attribute leaves nearly the same words,
    which one vector for a whole text can hardly tell; tokens that have read their own noun and color can.

    Args:
        images: Unit-length token sets and which of their members are real.
        texts: Token sets matching `images` row by row.
        negatives: Token sets of the hard negatives of all texts.
        owner: Which text each hard negative belongs to, in any order.
        scale: Inverse temperature that turns a similarity into a logit.
        leak: Slope of the LeakyReLU over the cosines, as in FineLIP.
        world: The ranks over which the loss is averaged.

    Returns:
        Mean loss of the texts with hard negatives. log(1 + K) if each has K and all similarities are equal; zero if
        none has any.

    Raises:
        ValueError: If images and texts, or hard negatives and owners, differ in rows.
    """
    same_rows(images=images[0], texts=texts[0])
    same_rows(negatives=negatives[0], owner=owner)
    owner = owner.long()
    right = paired_late_interaction(texts[0], images[0], texts[1], images[1], leak=leak)
    matching = (images[0].index_select(0, owner), None if images[1] is None else images[1].index_select(0, owner))
    wrong = paired_late_interaction(negatives[0], matching[0], negatives[1], matching[1], leak=leak)
    return softmax_over_owned(scale * (wrong - right.index_select(0, owner)), owner, len(right), world)
