"""Windows of several sizes and aspects on a grid: boxes that need no detector."""

from functools import lru_cache

import torch
from torch import Tensor

SHARES = (0.2, 0.3, 0.45, 0.65)  # of a side that windows take
_LONGEST = 2.5  # times its other side, in shares; longer windows are slivers


@lru_cache(maxsize=64)
def window_lattice(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return all windows of a grid: which cells each holds (0 or 1), in reading order, and its box in fractions.

    Neighbors of one size overlap by half. The whole grid is the first.
    """
    heights, widths = ({min(side, max(1, round(side * share))) for share in SHARES} for side in (rows, columns))
    places = [(0, 0, rows, columns)]
    for height in sorted(heights):
        for width in sorted(widths):
            if max(height / rows, width / columns) > _LONGEST * min(height / rows, width / columns):
                continue
            down, across = max(1, height // 2), max(1, width // 2)
            tops = sorted({*range(0, rows - height + 1, down), rows - height})
            lefts = sorted({*range(0, columns - width + 1, across), columns - width})
            places += [(top, left, top + height, left + width) for top in tops for left in lefts]
    places = list(dict.fromkeys(places))
    windows = torch.zeros(len(places), rows, columns)
    for number, (top, left, bottom, right) in enumerate(places):
        windows[number, top:bottom, left:right] = 1
    boxes = torch.tensor(
        [(left / columns, top / rows, right / columns, bottom / rows) for top, left, bottom, right in places]
    )
    return windows.flatten(1), boxes
