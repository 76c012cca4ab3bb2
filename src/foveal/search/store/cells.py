"""Cells that token sets lie in: a first pass of late interaction over millions of images.

PLAID (arXiv:2205.09707): centers of cells first, then centers with two bits for each direction of what they leave of
a token. Cells have two levels here, so that finding a token's cell is cheap.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8, UInt16
from torch import Tensor

PER_CELL = 128  # tokens of the index that share a cell, about
MOST_CELLS = 60_000  # a cell's number takes two bytes
TAUGHT = 32  # tokens per cell that cells are learnt from
ROUNDS = 5  # of k-means
GROUPS = 6  # groups in whose cells a token's cell is sought
PROBES = 64
"""Cells that each token of a query looks into."""
CLOSER = 0.015
"""Share of an index whose images, found by cells, are compared by remainders, at an accuracy of 1 ..."""
FEWEST, MOST = 1_000, 5_000
"""... and how many these are at least and at most."""
DIRECTIONS = 128  # of a remainder; tokens that are wider are projected on so many
EDGES, LEVELS = (-0.9816, 0.0, 0.9816), (-1.510, -0.4528, 0.4528, 1.510)
"""Two bits for a number of a normal distribution: Lloyd and Max's quantizer."""
LENGTHS = 127  # steps of a remainder's length for 1; no two unit-length vectors are farther apart than 2


@dataclass(frozen=True)
class Cells:
    """Clusters of an index's tokens: groups, each with as many cells as it has its share of tokens.

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
        """Learn cells of tokens by k-means on the sphere in two levels.

        Args:
            tokens: Unit-length, drawn from the index. `taught(expected)` of them are enough.
            expected: Tokens in the index.
        """
        count = cells_for(expected)
        groups = _k_means(tokens[: int(count**0.5) * 64 * TAUGHT], round(count**0.5))
        members = _members(tokens, groups)
        sizes = tuple(
            max(1, min(len(group_members), round(count * len(group_members) / len(tokens))))
            for group_members in members
        )
        centers = [
            _k_means(tokens[group_members], size) if len(group_members) else center[None]
            for group_members, size, center in zip(members, sizes, groups, strict=True)
        ]
        cells = cls(groups, torch.cat(centers), sizes)
        for _ in range(ROUNDS):  # a group's tokens may be nearer to a cell of its neighbor
            cells = cls(groups, _moved(cells.centers, tokens, cells.of(tokens)), sizes)
        return cells

    def of(self, tokens: Float[Tensor, "T _t"]) -> Int[Tensor, " T"]:
        """Return the number of the cell that each token is nearest to, among cells of its nearest groups."""
        cell = torch.zeros(len(tokens), dtype=torch.long)
        best = torch.full((len(tokens),), -torch.inf)
        nearest_groups = (tokens @ self.groups.T).topk(min(GROUPS, len(self.groups)), dim=1).indices.flatten()
        owner = torch.arange(len(tokens)).repeat_interleave(len(nearest_groups) // max(1, len(tokens)))
        counts = torch.bincount(nearest_groups, minlength=len(self.groups)).tolist()
        first = 0
        for group_tokens, centers in zip(
            owner[nearest_groups.argsort(stable=True)].split(counts), self.centers.split(self.sizes), strict=True
        ):
            nearest = (tokens[group_tokens] @ centers.T).max(dim=1)
            closer = nearest.values > best[group_tokens]
            best[group_tokens[closer]] = nearest.values[closer]
            cell[group_tokens[closer]] = first + nearest.indices[closer]
            first += len(centers)
        return cell


class Postings:
    """Inverted lists: the images that have tokens in each cell, and roughly where in it each token lies."""

    def __init__(self, cells: Cells, codes: UInt16[np.ndarray, "N S"], left: UInt8[np.ndarray, "N S _bytes"]) -> None:
        """Invert the codes of images.

        Args:
            cells: Of the index.
            codes: The cells of each image's tokens.
            left: What `remainders` gives for these tokens.
        """
        self._centers, self._codes, self._left = cells.centers, codes, left
        flat = codes.reshape(-1)
        self._pictures = (flat.argsort(kind="stable") // max(1, codes.shape[1])).astype(np.int32)
        self._ends = np.concatenate([[0], np.bincount(flat, minlength=len(self._centers)).cumsum()])

    def nearest(self, tokens: Float[Tensor, "T _t"], limit: int, accuracy: float = 1.0) -> Int[np.ndarray, " _near"]:
        """Return numbers of the images whose tokens are nearest to a query's, best first.

        Images whose tokens lie in the cells that the query's tokens are nearest to are found first; the best of these
        are put in order by late interaction with what is known of their tokens, centers and remainders.

        Args:
            tokens: Unit-length, of the query.
            limit: Images asked for. Fewer come where fewer share a cell with the query.
            accuracy: How many times as many images are compared by remainders as by default.
        """
        centers = self._centers @ tokens.T
        closer = max(limit, round(accuracy * min(MOST, max(FEWEST, CLOSER * len(self._codes)))))
        candidates = self._sharing_cells(centers, closer)
        closest = candidates[:closer]
        cells = torch.from_numpy(self._codes[closest].astype(np.int32))
        similarities = F.embedding(cells, centers) + _on_remainders(self._left[closest], tokens)  # (n, S, T)
        order = similarities.amax(dim=1).sum(dim=1).argsort(descending=True, stable=True).numpy()
        return closest[order][:limit]

    def _sharing_cells(self, centers: Float[Tensor, "C T"], limit: int) -> np.ndarray:
        """Return numbers of images by what their tokens gain in the cells that a query's tokens are nearest to.

        A token gains as much as its cell is nearer than the best cell left out. An image's gains are added up, though
        the greatest for each token of the query would be late interaction: this finds the best as surely, and one
        pass over all postings takes half the time.
        """
        probes = min(PROBES, len(centers) - 1)
        best = centers.T.topk(probes + 1, dim=1)
        gains = (best.values[:, :probes] - best.values[:, probes:]).flatten().numpy()
        cells = best.indices[:, :probes].flatten().tolist()
        lists = [self._pictures[self._ends[cell] : self._ends[cell + 1]] for cell in cells]
        picture_gains = np.repeat(gains, [len(pictures) for pictures in lists])
        total = np.bincount(np.concatenate(lists), picture_gains, minlength=len(self._codes))
        candidates = np.flatnonzero(total > 0)
        if len(candidates) > limit:
            candidates = candidates[np.argpartition(-total[candidates], limit)[:limit]]
        return candidates[np.argsort(-total[candidates], kind="stable")]


def remainder_bytes(width: int) -> int:
    """Return how many bytes the remainder of a token of this width takes."""
    return 1 + -(-min(width, DIRECTIONS) // 4)


def remainders(tokens: Float[Tensor, "T _t"], centers: Float[Tensor, "T _t"]) -> UInt8[np.ndarray, "T _bytes"]:
    """Quantize tokens less the centers of their cells: the length in one byte, and two bits for each direction.

    Directions are turned at random first, so that each has its share of the length and no more than that.
    """
    left = tokens - centers
    lengths = left.norm(dim=1, keepdim=True)
    turned = left @ _directions(left.shape[1]) * (left.shape[1] ** 0.5 / lengths.clamp(min=1e-6))
    bits = torch.bucketize(turned, torch.tensor(EDGES))
    four = F.pad(bits, (0, -bits.shape[1] % 4)).unflatten(1, (-1, 4)) << torch.tensor([0, 2, 4, 6])
    return torch.cat([(LENGTHS * lengths).round(), four.sum(dim=2)], dim=1).to(torch.uint8).numpy()


def _on_remainders(left: UInt8[np.ndarray, "N S _bytes"], tokens: Tensor) -> Float[Tensor, "N S T"]:
    """Return dot products of remainders with tokens: sums of what each byte adds, from a table."""
    width = tokens.shape[1]
    turned = tokens @ _directions(width) / width**0.5
    turned = F.pad(turned, (0, -turned.shape[1] % 4)).unflatten(1, (-1, 4))  # (T, bytes, 4)
    byte = torch.arange(256)
    levels = torch.tensor(LEVELS)[torch.stack([byte >> shift & 3 for shift in (0, 2, 4, 6)])]  # (4, 256)
    adds = (turned @ levels).permute(1, 2, 0).flatten(0, 1).contiguous()  # (bytes * 256, T)
    places = torch.from_numpy(left[..., 1:]).int().add_(256 * torch.arange(turned.shape[1], dtype=torch.int32))
    sums = F.embedding_bag(places.flatten(0, 1), adds, mode="sum").view(*left.shape[:2], len(tokens))
    return sums * (torch.from_numpy(left[..., :1]).float() / LENGTHS)


@lru_cache(maxsize=8)
def _directions(width: int) -> Float[Tensor, "_t _directions"]:
    """Draw orthogonal directions, the same on every machine: what this generator draws is fixed for good."""
    axes, triangle = np.linalg.qr(np.random.RandomState(0).standard_normal((width, min(width, DIRECTIONS))))
    return torch.from_numpy((axes * np.sign(np.diag(triangle))).astype(np.float32))


def cells_for(expected: int) -> int:
    """Return how many cells so many tokens get, about."""
    return max(4, min(MOST_CELLS, expected // PER_CELL))


def taught(expected: int) -> int:
    """Return how many tokens cells are learnt from, for so many tokens in the index."""
    return min(expected, TAUGHT * cells_for(expected))


def _k_means(rows: Tensor, count: int) -> Tensor:
    """Return unit-length centers of rows."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randint(len(rows), (count,), generator=generator) if len(rows) < count else None
    centers = rows[torch.randperm(len(rows), generator=generator)[:count] if start is None else start]
    for _ in range(ROUNDS):
        centers = _moved(centers, rows, _nearest(rows, centers))
    return centers


def _moved(centers: Tensor, rows: Tensor, owner: Tensor) -> Tensor:
    """Move each center to the mean of its rows; one that has none stays."""
    sums = torch.zeros_like(centers).index_add_(0, owner, rows)
    filled = torch.bincount(owner, minlength=len(centers)) > 0
    return torch.where(filled[:, None], F.normalize(sums, dim=-1), centers)


def _nearest(rows: Tensor, centers: Tensor) -> Tensor:
    nearest = [(chunk @ centers.T).argmax(dim=1) for chunk in rows.split(2**14)]
    return torch.cat(nearest) if nearest else torch.zeros(0, dtype=torch.long)


def _members(rows: Tensor, groups: Tensor) -> tuple[Tensor, ...]:
    """Return the rows that are nearest to each group."""
    group = _nearest(rows, groups)
    sizes = torch.bincount(group, minlength=len(groups)).tolist()
    return tuple(torch.split(group.argsort(stable=True), sizes))
