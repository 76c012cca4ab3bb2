"""Distances between two sets of pictures by their features, and how well a picture fits its caption."""

import torch
from jaxtyping import Float
from torch import Tensor

_ROWS = 1024  # compared at once


def frechet(left: Float[Tensor, "N D"], right: Float[Tensor, "M D"]) -> float:
    """Return the Fréchet distance of two sets, each taken as a Gaussian (Heusel et al., arXiv:1706.08500, eq. 6).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2), in float64. The root's trace is that of (R S2 R)^1/2 with R = S1^1/2,
    whose eigenvalues are real: no complex numbers, no iteration.

    Args:
        left: Features of one set, two rows at least.
        right: Of the other.

    Returns:
        0 for equal sets; |shift|^2 for a set and itself shifted.

    Raises:
        ValueError: If a set has fewer than two rows.
    """
    if min(len(left), len(right)) < 2:
        raise ValueError(f"{len(left)} and {len(right)} pictures have no covariance. Compare two of each at least.")
    left, right = left.double(), right.double()
    first, second = left.T.cov(), right.T.cov()
    first, second = torch.atleast_2d(first), torch.atleast_2d(second)
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    shift = (left.mean(dim=0) - right.mean(dim=0)).square().sum()
    return (shift + first.trace() + second.trace() - 2 * shared).clamp(min=0).item()


def cmmd(left: Float[Tensor, "N D"], right: Float[Tensor, "M D"], sigma: float = 10.0, scale: float = 1000.0) -> float:
    """Return the maximum mean discrepancy of two sets of unit-length features (CMMD, Jayasumana, arXiv:2401.09603).

    The squared one with a Gaussian kernel, all pairs counted, those of a row with itself too, times a scale.

    Args:
        left: Features of one set; made of unit length here.
        right: Of the other.
        sigma: Width of the kernel.
        scale: What the number is multiplied by, to be read more easily.

    Returns:
        0 for equal sets.
    """
    left, right = (torch.nn.functional.normalize(rows.double(), dim=-1) for rows in (left, right))
    value = _mean_kernel(left, left, sigma) + _mean_kernel(right, right, sigma) - 2 * _mean_kernel(left, right, sigma)
    return scale * max(value, 0.0)


def _mean_kernel(left: Float[Tensor, "N D"], right: Float[Tensor, "M D"], sigma: float) -> float:
    total = sum(
        (-torch.cdist(rows, right, compute_mode="donot_use_mm_for_euclid_dist").square() / (2 * sigma**2))
        .exp()
        .sum()
        .item()
        for rows in left.split(_ROWS)
    )
    return total / (len(left) * len(right))


def clip_score(image: Float[Tensor, "N E"], text: Float[Tensor, "N E"], weight: float = 100.0) -> Float[Tensor, " N"]:
    """Return how well each picture fits its text: weight * max(cosine, 0) (Hessel, arXiv:2104.08718, eq. 1).

    Args:
        image: Unit-length embeddings.
        text: Likewise, row by row.
        weight: 2.5 in the paper; 100 in torchmetrics, and what most tables have.

    Returns:
        The weight for equal vectors, 0 for those that point apart.
    """
    return weight * (image * text).sum(dim=-1).clamp(min=0)
