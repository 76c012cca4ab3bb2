"""Token sets by the cells that their tokens lie in: a first pass for late interaction, over millions of pictures.

PLAID's centroid interaction (arXiv:2205.09707), with cells in two levels so that finding a token's cell is cheap.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt16
from torch import Tensor

PER_CELL = 128  # tokens of the index that share a cell, about
MOST_CELLS = 60_000  # a cell's number takes two bytes
TAUGHT = 32  # tokens per cell that cells are learnt from
ROUNDS = 5  # of k-means
GROUPS = 6  # groups in whose cells a token's cell is sought
PROBES = 48
"""Cells that each token of a query looks into. What lies in none of them counts as the best cell left out."""


@dataclass(frozen=True)
class Cells:
    """Where tokens of an index gather: groups, each with as many cells as it has its share of tokens.

    Attributes:
        groups: Unit-length centers.
        centers: Of all cells, group by group, of unit length.
        sizes: Cells of each group.
    """

    groups: Float[Tensor, "G _t"]
    centers: Float[Tensor, "C _t"]
    sizes: tuple[int, ...]

    @classmethod
    def learn(cls, tokens: Float[Tensor, "T _t"], expected: int) -> "Cells":
        """The cells of some tokens, by k-means on the sphere in two levels.

        Args:
            tokens: Unit-length, drawn from the index. `taught(expected)` of them are enough.
            expected: Tokens in the index.
        """
        count = cells_for(expected)
        groups = _k_means(tokens[: int(count**0.5) * 64 * TAUGHT], round(count**0.5))
        members = _members(tokens, groups)
        sizes = tuple(max(1, min(len(own), round(count * len(own) / len(tokens)))) for own in members)
        centers = [
            _k_means(tokens[own], size) if len(own) else center[None]
            for own, size, center in zip(members, sizes, groups, strict=True)
        ]
        cells = cls(groups, torch.cat(centers), sizes)
        for _ in range(ROUNDS):  # a group's tokens may be nearer to a cell of its neighbor
            cells = cls(groups, _moved(cells.centers, tokens, cells.of(tokens)), sizes)
        return cells

    def of(self, tokens: Float[Tensor, "T _t"]) -> Int[Tensor, " T"]:
        """The number of the cell that each token is nearest to, among those of the groups it is nearest to."""
        cell = torch.zeros(len(tokens), dtype=torch.long)
        best = torch.full((len(tokens),), -torch.inf)
        near = (tokens @ self.groups.T).topk(min(GROUPS, len(self.groups)), dim=1).indices.flatten()
        owner = torch.arange(len(tokens)).repeat_interleave(len(near) // max(1, len(tokens)))
        counts = torch.bincount(near, minlength=len(self.groups)).tolist()
        first = 0
        for some, centers in zip(
            owner[near.argsort(stable=True)].split(counts), self.centers.split(self.sizes), strict=True
        ):
            found = (tokens[some] @ centers.T).max(dim=1)
            closer = found.values > best[some]
            best[some[closer]] = found.values[closer]
            cell[some[closer]] = first + found.indices[closer]
            first += len(centers)
        return cell


class Postings:
    """Which pictures have tokens in each cell."""

    def __init__(self, cells: Cells, codes: UInt16[np.ndarray, "N S"]) -> None:
        """Turn around what each picture holds.

        Args:
            cells: Of the index.
            codes: The cells of each picture's tokens.
        """
        self._centers = cells.centers
        flat = codes.reshape(-1)
        self._pictures = (flat.argsort(kind="stable") // max(1, codes.shape[1])).astype(np.int32)
        self._ends = np.concatenate([[0], np.bincount(flat, minlength=len(self._centers)).cumsum()])
        self._count = len(codes)

    def nearest(self, tokens: Float[Tensor, "T _t"], limit: int) -> Int[np.ndarray, " _near"]:
        """Numbers of pictures whose tokens lie in the cells that a query's tokens are nearest to, best first.

        A picture's score is the sum over the query's tokens of the best center among its cells: late interaction
        with centers in place of tokens.

        Args:
            tokens: Unit-length, of the query.
            limit: Pictures wanted. Fewer come where fewer share a cell with the query.
        """
        alike = tokens @ self._centers.T
        probes = min(PROBES, alike.shape[1] - 1)
        best = alike.topk(probes + 1, dim=1)
        total, one = np.zeros((2, self._count), np.float32)
        touched = []
        for values, cells in zip(best.values.numpy(), best.indices.numpy(), strict=True):
            gains = values[:probes] - values[probes]
            lists = [self._pictures[self._ends[cell] : self._ends[cell + 1]] for cell in cells[:probes][::-1]]
            pictures = np.concatenate(lists)
            one[pictures] = np.repeat(gains[::-1], [len(each) for each in lists])  # the best cell comes last and stays
            total[pictures] += one[pictures]  # once for each picture, however often it is listed
            touched.append(pictures)
        scores = total if sum(map(len, touched)) > self._count else None
        found = np.arange(self._count) if scores is not None else np.unique(np.concatenate(touched))
        found = found[total[found] > 0]
        if len(found) > limit:
            found = found[np.argpartition(-total[found], limit)[:limit]]
        return found[np.argsort(-total[found], kind="stable")]


def cells_for(expected: int) -> int:
    """How many cells so many tokens get, about."""
    return max(4, min(MOST_CELLS, expected // PER_CELL))


def taught(expected: int) -> int:
    """Tokens that cells are learnt from, for so many tokens in the index."""
    return min(expected, TAUGHT * cells_for(expected))


def in_pieces(rows: Tensor, size: int = 2**18) -> Iterator[Tensor]:
    """Rows, some at a time, in float32 and of unit length."""
    return (F.normalize(some.float(), dim=-1) for some in rows.split(size))


def _k_means(rows: Tensor, count: int) -> Tensor:
    """Unit-length centers of some rows."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randint(len(rows), (count,), generator=generator) if len(rows) < count else None
    centers = rows[torch.randperm(len(rows), generator=generator)[:count] if start is None else start]
    for _ in range(ROUNDS):
        centers = _moved(centers, rows, _nearest(rows, centers))
    return centers


def _moved(centers: Tensor, rows: Tensor, owner: Tensor) -> Tensor:
    """Each center at the mean of its rows; one that has none stays."""
    sums = torch.zeros_like(centers).index_add_(0, owner, rows)
    filled = torch.bincount(owner, minlength=len(centers)) > 0
    return torch.where(filled[:, None], F.normalize(sums, dim=-1), centers)


def _nearest(rows: Tensor, centers: Tensor) -> Tensor:
    nearest = [(some @ centers.T).argmax(dim=1) for some in rows.split(2**14)]
    return torch.cat(nearest) if nearest else torch.zeros(0, dtype=torch.long)


def _members(rows: Tensor, groups: Tensor) -> tuple[Tensor, ...]:
    """Which rows are nearest to each group."""
    group = _nearest(rows, groups)
    sizes = torch.bincount(group, minlength=len(groups)).tolist()
    return tuple(torch.split(group.argsort(stable=True), sizes))
