"""Softmax loss of phrases' hard negatives over whole pictures, each by the patch that fits it best."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import full_precision, same_rows
from .hard_negative import softmax_over_owned


@full_precision
def best_patch_negative(
    patches: Float[Tensor, "B P E"],
    mask: Bool[Tensor, "B P"] | None,
    phrases: Float[Tensor, "R E"],
    phrase_image: Int[Tensor, " R"],
    negatives: Float[Tensor, "K E"],
    owner: Int[Tensor, " K"],
    scale: Float[Tensor, ""],
    *,
    world: World = ALONE,
) -> Float[Tensor, ""]:
    """Push each phrase to fit some patch of its picture better than its hard negatives fit any patch of it.

    `hard_negative` holds the place fixed: a lemon's box need not be told from a pencil's by "a lemon in the top
    right" as long as "a pencil" fits the lemon's worse. Whoever looks for a phrase does not know the place. Then a
    lemon moved to where the pencil lies has the right place there and the right thing elsewhere, and only patches
    that hold both tell the two apart. Hard negatives must be false of the whole picture, not of one region only.

    Args:
        patches: Unit-length embeddings of each picture's patches.
        mask: True where a patch is real. None: all are.
        phrases: Unit-length embeddings.
        phrase_image: The picture that each phrase is about.
        negatives: Unit-length embeddings of all phrases' hard negatives.
        owner: Which phrase each hard negative belongs to, in any order.
        scale: Inverse temperature that turns a cosine into a logit.
        world: The ranks over which the loss is averaged.

    Returns:
        Mean loss of the phrases with hard negatives. log(1 + K) if each has K and all similarities are equal; zero if
        none has any.

    Raises:
        ValueError: If phrases and pictures, or hard negatives and owners, differ in rows.
    """
    same_rows(phrases=phrases, phrase_image=phrase_image)
    same_rows(negatives=negatives, owner=owner)
    owner, phrase_image = owner.long(), phrase_image.long()
    right = _best(patches, mask, phrases, phrase_image)
    wrong = _best(patches, mask, negatives, phrase_image[owner])
    return softmax_over_owned(scale * (wrong - right[owner]), owner, len(phrases), world)


def _best(
    patches: Float[Tensor, "B P E"],
    mask: Bool[Tensor, "B P"] | None,
    texts: Float[Tensor, "T E"],
    image: Int[Tensor, " T"],
) -> Float[Tensor, " T"]:
    """Return the cosine of each text with its picture's best patch: a matrix product per picture."""
    counts = image.bincount(minlength=len(patches))
    order = image.argsort(stable=True)
    place = image.new_empty(len(image))  # of a text among those of its picture
    place[order] = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[image[order]]
    padded = texts.new_zeros(len(patches), max(counts.tolist(), default=0), texts.shape[1])
    similarity = padded.index_put((image, place), texts) @ patches.mT
    if mask is not None:
        similarity = similarity.masked_fill(~mask[:, None], -1)  # no cosine is less
    return similarity[image, place].amax(dim=1)
