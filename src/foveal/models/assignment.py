"""Which boxes a detector learns from: those that cover a true box, and some that cover none."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .boxes import iou


def match(
    boxes: Float[Tensor, "R 4"], truth: Float[Tensor, "N 4"], positive: float, negative: float, least: float = 1.0
) -> tuple[Bool[Tensor, " R"], Bool[Tensor, " R"], Int[Tensor, " R"]]:
    """Match boxes with true ones, as Faster R-CNN does (arXiv:1506.01497, section 3.1.2).

    Args:
        boxes: Anchors or proposals.
        truth: Any number, none too.
        positive: Intersection over union from which on a box is one of its true box.
        negative: Below it a box is background; between the two it counts as neither.
        least: The best boxes of a true box are positive, too, from so much on. 1: only those of `positive`.

    Returns:
        Which boxes are positive, which are background, and the best true box of each.
    """
    if not len(truth):
        nothing = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        return nothing, ~nothing, torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    overlap = iou(boxes, truth)
    best, index = overlap.max(dim=1)
    is_positive = best >= positive
    top = overlap.amax(dim=0)
    of_its_truth = (overlap == top) & (top >= least)
    is_best = of_its_truth.any(dim=1)
    index = torch.where(is_best & ~is_positive, of_its_truth.to(torch.int8).argmax(dim=1), index)
    is_positive = is_positive | is_best
    return is_positive, (best < negative) & ~is_positive, index


def draw_samples(
    positive: Bool[Tensor, " R"], negative: Bool[Tensor, " R"], count: int, most_positive: int, seed: int
) -> tuple[Int[Tensor, " _p"], Int[Tensor, " _n"]]:
    """Return random rows: positive ones up to a limit, and background for the rest.

    Args:
        positive: Rows that are positive.
        negative: Rows that are background.
        count: Rows wanted, at most.
        most_positive: Positive ones among them, at most.
        seed: Equal seeds draw equal rows, on every rank and device.
    """
    generator = torch.Generator().manual_seed(seed)
    positives = _drawn(positive, most_positive, generator)
    return positives, _drawn(negative, count - len(positives), generator)


def _drawn(mask: Bool[Tensor, " R"], count: int, generator: torch.Generator) -> Int[Tensor, " _n"]:
    rows = mask.nonzero()[:, 0]
    return rows[torch.randperm(len(rows), generator=generator)[:count].to(rows.device)]
