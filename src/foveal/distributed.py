"""The world of processes as a value: rank, size, and gathering with gradients."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """A process's rank among all of them. A world of one needs no set-up and communicates nothing.

    Losses take a world as an argument and never ask for one, so no test patches `torch.distributed`.
    The convention of gradients is DistributedDataParallel's: a rank's loss is the mean over its own rows,
    and gradients are averaged over ranks; a gathered row brings home the gradient of every rank's loss.

    Attributes:
        rank: This process's number.
        size: The number of processes.
    """

    rank: int = 0
    size: int = 1

    def gather(self, rows: Tensor) -> Tensor:
        """Gather rows of every rank, in rank order, differentiable. Every rank must bring as many."""
        return rows if self.size == 1 else _Gather.apply(rows, self.rank, self.size)  # type: ignore[no-untyped-call]

    def counts(self, rows: Tensor) -> list[int]:
        """Count the rows that each rank brings."""
        if self.size == 1:
            return [len(rows)]
        count = torch.tensor([len(rows)], device=rows.device)
        everyone = [torch.zeros_like(count) for _ in range(self.size)]
        dist.all_gather(everyone, count)
        return [int(count) for count in everyone]

    def gather_uneven(self, rows: Tensor, counts: list[int]) -> Tensor:
        """Gather rows of every rank, in rank order, differentiable, where ranks bring different numbers of rows.

        Args:
            rows: This rank's rows; there may be none.
            counts: What `counts` said. Asked once, used for every tensor that has as many rows.
        """
        if self.size == 1:
            return rows
        most = max(counts)
        padding = rows.new_zeros(most - len(rows), *rows.shape[1:])
        padded = self.gather(torch.cat([rows, padding])).reshape(self.size, most, *rows.shape[1:])
        return torch.cat([padded[rank, :count] for rank, count in enumerate(counts)])

    def mean(self, value: Tensor) -> Tensor:
        """Average every rank's value, without a gradient."""
        value = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(value)
        return value / self.size


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums every rank's gradient of the rows that this rank brought."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, size: int) -> Tensor:
        ctx.rank, ctx.size = rank, size
        everyone = [torch.empty_like(rows) for _ in range(size)]
        dist.all_gather(everyone, rows.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)  # gloo has no reduce-scatter; the slice below is this rank's share
        return total.chunk(ctx.size)[ctx.rank], None, None


ALONE = World()
