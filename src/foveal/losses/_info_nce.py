"""Softmax cross entropy of matching rows against all others, without ever holding all logits."""

from typing import Any

import torch
from torch import Tensor

from ..distributed import World
from ._shared import BUDGET

Keys = tuple[Tensor, Tensor]


def symmetric(
    left: Tensor,
    right: Tensor,
    scale: Tensor,
    *,
    world: World,
    counts: list[int],
    key: Tensor | None = None,
    label_smoothing: float = 0.0,
    budget: int = BUDGET,
) -> Tensor:
    """Return per local row the mean of both directions' cross entropy against the rows of every rank.

    Args:
        left: Own rows.
        right: Own rows, matching `left` row by row.
        scale: Inverse temperature.
        world: The ranks whose rows serve as negatives.
        counts: How many rows each of them brings.
        key: Of each row. Rows with equal keys are no negatives of one another.
        label_smoothing: Share of the target that is spread over all rows.
        budget: Bytes of logits at once.
    """
    first = sum(counts[: world.rank])
    every_left, every_right = world.gather_uneven(left, counts), world.gather_uneven(right, counts)
    keys = None if key is None else (key, world.gather_uneven(key, counts))
    if world.size == 1:  # one matrix of logits serves both directions
        forth, back = _CrossEntropy.apply(scale * left, right, 0, keys, True, budget)  # type: ignore[no-untyped-call]
    else:
        forth = one_way(left, every_right, scale, first=first, keys=keys, budget=budget)
        back = one_way(right, every_left, scale, first=first, keys=keys, budget=budget)
    losses: Tensor = (forth + back) / 2
    if label_smoothing == 0:
        return losses
    mean = left @ every_right.mean(dim=0) + right @ every_left.mean(dim=0)
    return losses + label_smoothing * scale * ((left * right).sum(dim=1) - mean / 2)


def one_way(
    rows: Tensor,
    columns: Tensor,
    scale: Tensor,
    *,
    first: int = 0,
    keys: Keys | None = None,
    budget: int = BUDGET,
) -> Tensor:
    """Return per row the cross entropy of finding its match, column `first` + row, among all columns."""
    losses: Tensor
    losses, _ = _CrossEntropy.apply(scale * rows, columns, first, keys, False, budget)  # type: ignore[no-untyped-call]
    return losses


class _CrossEntropy(torch.autograd.Function):
    """Cross entropy of rows against columns and, where `both_ways`, of columns against rows, by blocks of rows.

    Keeps one normalizer per row (and column) and computes the logits again on the way back: four matrix products
    instead of the three of plain autograd, which keeps several copies of all logits. `torch.utils.checkpoint` does
    the same products, but the C library's allocator then holds on to thrice the memory.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, columns: Tensor, first: int, keys: Keys | None, both_ways: bool, budget: int
    ) -> tuple[Tensor, Tensor | None]:
        ctx.first, ctx.keys = first, keys
        ctx.size = max(1, budget // max(1, len(columns) * rows.element_size()))
        by_row, match = rows.new_empty(len(rows)), rows.new_empty(len(rows))
        by_column = columns.new_full((len(columns),), -torch.inf) if both_ways else None
        for start in range(0, len(rows), ctx.size):
            block = slice(start, start + ctx.size)
            logits = _logits(rows, columns, block, first, keys)
            match[block] = logits.diagonal(first + start)
            by_row[block] = logits.logsumexp(dim=1)
            if by_column is not None:
                by_column = torch.logaddexp(by_column, logits.logsumexp(dim=0))
        ctx.save_for_backward(rows, columns, by_row, by_column)
        return by_row - match, None if by_column is None else by_column - match

    @staticmethod
    def backward(ctx: Any, of_forth: Tensor, of_back: Any) -> tuple[Tensor | None, ...]:
        rows, columns, by_row, by_column = ctx.saved_tensors
        of_rows, of_columns = torch.empty_like(rows), torch.zeros_like(columns)
        of_match = of_forth if by_column is None else of_forth + of_back
        for start in range(0, len(rows), ctx.size):
            block = slice(start, start + ctx.size)
            logits = _logits(rows, columns, block, ctx.first, ctx.keys)
            share = (logits - by_row[block, None]).exp_().mul_(of_forth[block, None])
            if by_column is not None:
                share += logits.sub_(by_column).exp_().mul_(of_back)
            share.diagonal(ctx.first + start).sub_(of_match[block])
            torch.mm(share, columns, out=of_rows[block])
            of_columns.addmm_(share.T, rows[block])
        return of_rows, of_columns, None, None, None, None


def _logits(rows: Tensor, columns: Tensor, block: slice, first: int, keys: Keys | None) -> Tensor:
    """Return logits of a block of rows; minus infinity where another row says the same as the match."""
    logits = rows[block] @ columns.T
    if keys is not None:
        repeats = keys[0][block, None] == keys[1]
        repeats.diagonal(first + block.start).fill_(False)
        logits.masked_fill_(repeats, -torch.inf)
    return logits
