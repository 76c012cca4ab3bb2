"""Softmax contrastive loss of regions and phrases."""

from jaxtyping import Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ._info_nce import symmetric
from ._shared import full_precision, mean_over_ranks, same_rows


@full_precision
def regional(
    regions: Float[Tensor, "R E"],
    phrases: Float[Tensor, "R E"],
    scale: Float[Tensor, ""],
    *,
    phrase_key: Int[Tensor, " R"] | None = None,
    world: World = ALONE,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute symmetric InfoNCE over a batch's regions: each should find its phrase, and the other way round.

    FG-CLIP's regional loss (arXiv:2505.05071), FGV in FG-CLIP 2. The paper contrasts within a rank and takes a
    repeated phrase for a negative; `gather` and `phrase_key` do better. Ranks may bring different numbers of
    regions, or none: they are weighted so that the mean over ranks is the mean over all regions, where the
    authors' code lets every rank count the same.

    Args:
        regions: Unit-length embeddings of boxes.
        phrases: Unit-length embeddings, matching `regions` row by row.
        scale: Inverse temperature that turns a cosine into a logit.
        phrase_key: Equal for equal phrases, which are then no negatives of one another. With `gather` it must
            mean the same on every rank.
        world: The ranks over which the loss is averaged.
        gather: Take negatives from every rank. The mean over ranks is then the loss of the whole batch at once.

    Returns:
        Loss of this rank's regions. log R if all similarities are equal; zero without regions.

    Raises:
        ValueError: If regions, phrases and keys differ in rows.
    """
    same_rows(regions=regions, phrases=phrases)
    if phrase_key is not None:
        same_rows(regions=regions, phrase_key=phrase_key)
    ranks = world if gather else ALONE
    counts = ranks.counts(regions)
    losses = symmetric(regions, phrases, scale, world=ranks, counts=counts, key=phrase_key)
    return mean_over_ranks(losses.sum(), len(regions), world)
