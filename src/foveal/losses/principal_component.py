"""Long-CLIP's loss of short captions and the main components of images."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import full_precision, same_rows
from .contrastive import contrastive


@full_precision
def principal_component(
    image: Float[Tensor, "B E"],
    short: Float[Tensor, "B E"],
    scale: Float[Tensor, ""],
    *,
    components: int = 32,
    label_smoothing: float = 0.1,
    world: World = ALONE,
) -> Float[Tensor, ""]:
    """Compute symmetric InfoNCE of short captions and images reduced to their principal components.

    Long-CLIP's primary component matching (arXiv:2403.15378): a short caption says the main things only, so it is
    matched with what of the images' embeddings varies most. As in the authors' code, components are those of the
    rank's own batch and the reduced embeddings are not brought back to unit length.

    Args:
        image: Unit-length embeddings.
        short: Unit-length embeddings of short captions, matching `image` row by row.
        scale: Inverse temperature that turns a cosine into a logit.
        components: How many to keep. With at most `components` + 1 rows this changes nothing.
        label_smoothing: Share of the target that is spread over all rows.
        world: The ranks whose rows serve as negatives; each must bring as many.

    Returns:
        Mean loss of this rank's rows. log N if all similarities are equal.

    Raises:
        ValueError: If images and captions differ in number.
    """
    same_rows(image=image, short=short)
    return contrastive(onto_principal(image, components), short, scale, label_smoothing=label_smoothing, world=world)


def onto_principal(rows: Float[Tensor, "B E"], components: int) -> Float[Tensor, "B E"]:
    """Project rows onto their principal components, and keep their mean.

    The derivative of an SVD divides by differences of all singular values and is infinite where two are equal. What
    is projected onto depends only on the kept components as a whole, so only differences of a kept and a dropped
    eigenvalue matter. To first order the space of the kept, V, turns towards the dropped, U, by
    U^T C V / (difference of eigenvalues), C being the covariance. That is zero at C itself, and autograd makes of it
    the exact gradient. Where a kept and a dropped eigenvalue differ by no more than rounding the projection has no
    derivative, and the two are taken not to turn.

    Args:
        rows: One embedding each.
        components: How many to keep.
    """
    if min(len(rows) - 1, rows.shape[1]) <= components:
        return rows
    mean = rows.mean(dim=0)
    centered = rows - mean
    covariance = centered.T @ centered
    with torch.no_grad():
        values, vectors = torch.linalg.eigh(covariance.double())  # squared singular values need the precision
        dropped, retained = vectors.to(rows.dtype).tensor_split([-components], dim=1)
        gap = values[-components:] - values[:-components, None]
        noise = 10 * torch.finfo(rows.dtype).eps * rows.square().sum()
        ease = (gap / (gap**2 + noise**2)).to(rows.dtype)
    turn = dropped.T @ covariance @ retained * ease
    turn = turn - turn.detach()
    along, across = centered @ retained, centered @ dropped
    projected: Tensor = (along + across @ turn) @ retained.T + along @ turn.T @ dropped.T
    return mean + projected
