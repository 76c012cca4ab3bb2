"""Region proposals from an image's grid of patches alone."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..models.lattice import window_lattice

REGIONS = 12
"""Most regions of an image, where nobody asks for another number."""
OVERLAP = 0.5  # intersection over union from which on the weaker of two windows goes


def propose_regions(grid: Float[Tensor, "B Y X E"], most: int) -> tuple[Float[Tensor, "B R E"], Float[Tensor, "B R 4"]]:
    """Return boxes around what stands out, found without a detector, and the embedding of each.

    Windows of several sizes and aspects lie on the grid. A window stands out if its patches agree with each other and
    its mean is unlike the mean of all that lies outside; of windows that overlap much, the weaker go. The first
    region is always the whole picture.

    Args:
        grid: Unit-length patch embeddings.
        most: Regions wanted, at most.

    Returns:
        Unit-length means of the patches of each region; boxes in fractions of the picture. Fewer than `most` on grids
        that have fewer windows apart from each other.
    """
    rows, columns = grid.shape[1:3]
    windows, boxes = window_lattice(rows, columns)
    cells = grid.flatten(1, 2)
    sums = windows @ cells  # (B, windows, E)
    sizes = windows.sum(dim=1)
    means = sums / sizes[:, None]
    outside = cells.sum(dim=1, keepdim=True) - sums
    contrast = 1 - F.cosine_similarity(means, outside, dim=-1)
    strength = contrast * means.norm(dim=-1) * sizes.sqrt()[None]  # evidence grows with size, as a mean's does
    strength[:, 0] = torch.inf  # the whole picture
    winners = _apart(strength, _rivals(rows, columns), most)
    picked = means.gather(1, winners[..., None].expand(-1, -1, means.shape[2]))
    return F.normalize(picked, dim=-1), boxes[winners]


def best_windows(
    grid: Float[Tensor, "Y X E"], phrases: Float[Tensor, "R E"]
) -> tuple[Float[Tensor, "R 4"], Float[Tensor, " R"]]:
    """Return the window of a grid that fits each phrase best.

    Args:
        grid: Unit-length patch embeddings.
        phrases: Unit-length embeddings.

    Returns:
        Boxes in fractions of the picture, and the cosine of each phrase and its box.
    """
    windows, boxes = window_lattice(*grid.shape[:2])
    means = F.normalize(windows @ grid.flatten(0, 1), dim=-1)
    best = (phrases @ means.T).max(dim=1)
    return boxes[best.indices], best.values


def _apart(strength: Float[Tensor, "B _w"], rivals: Float[Tensor, "_w _w"], most: int) -> Int[Tensor, "B R"]:
    """Suppress non-maxima greedily, all images at once: the same number of windows from each."""
    strength = strength.clone()
    winners: list[Tensor] = []
    while len(winners) < most and bool((strength > -torch.inf).any(dim=1).all()):
        best = strength.argmax(dim=1)
        winners.append(best)
        strength[rivals[best] > 0] = -torch.inf
    return torch.stack(winners, dim=1)


@lru_cache(maxsize=64)
def _rivals(rows: int, columns: int) -> Float[Tensor, "_w _w"]:
    """Return which windows of a grid each window drives out."""
    windows, _ = window_lattice(rows, columns)
    shared = windows @ windows.T
    sizes = windows.sum(dim=1)
    return (shared / (sizes[:, None] + sizes - shared) > OVERLAP).float()
