"""Parts that losses share: full precision, blocks of rows, the mean over all ranks' rows, margins."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..distributed import World

BUDGET = 8 * 2**20
"""Bytes of one block of logits. About three such blocks exist at a time."""

Arguments = ParamSpec("Arguments")


def full_precision(loss: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
    """Compute a loss in float32 at least, whatever autocast or the precision of its arguments say."""

    @wraps(loss)
    def in_full_precision(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        device = next(value.device.type for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(device, enabled=False):
            return loss(*map(widen, args), **{name: widen(value) for name, value in kwargs.items()})

    return in_full_precision


def widen(value: Any) -> Any:
    """Convert a floating-point tensor to float32 at least; return anything else as it is."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(torch.promote_types(value.dtype, torch.float32))
    return value


def in_blocks(
    block: Callable[[Tensor, int], Tensor | tuple[Tensor, ...]], rows: Tensor, columns: int, budget: int
) -> list[Any]:
    """Return the results of `block` on chunks of rows, given each chunk and the number of its first row.

    Where there are several blocks, their matrices of `columns` columns are not kept but computed again on the way
    back.
    """
    size = max(1, budget // max(1, columns * rows.element_size()))
    if len(rows) <= size:
        return [block(rows, 0)]
    starts = range(0, len(rows), size)
    return [
        checkpoint(block, chunk, start, use_reentrant=False, preserve_rng_state=False)
        for chunk, start in zip(rows.split(size), starts, strict=True)
    ]


def mean_over_ranks(total: Tensor, count: Tensor | int, world: World) -> Tensor:
    """Weight this rank's total so that the mean over ranks is the mean over the rows of all of them.

    Every rank must call it, also one that has no rows. Zero if no rank has any.
    """
    rows = torch.as_tensor(count, dtype=total.dtype, device=total.device)
    return total / world.mean(rows).clamp(min=1 / world.size)


def margins(anchors: Tensor, positives: Tensor, negatives: Tensor, owner: Tensor, scale: Tensor) -> Tensor:
    """Return each negative's margin, in logits: how much more its anchor prefers its positive."""
    same_rows(anchors=anchors, positives=positives)
    same_rows(negatives=negatives, owner=owner)
    right = (anchors * positives).sum(dim=1)
    wrong = (anchors[owner] * negatives).sum(dim=1)
    return scale * (right[owner] - wrong)


def same_rows(**sides: Tensor) -> None:
    """Refuse tensors that should pair up row by row and do not."""
    counts = {name: len(side) for name, side in sides.items()}
    if len(set(counts.values())) > 1:
        sizes = " and ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"{sizes} do not pair up; there must be as many of each.")
