"""Ranks of right answers, both ways between texts and images, without the whole matrix of similarities in memory.

Equal texts are compared once; how often each occurs in the gallery is counted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .result import EqualTexts, Ties

Blocks = Callable[[], Iterator[tuple[int, Float[Tensor, "_b I"]]]]
"""Gives similarities of distinct texts to all images, some texts at a time, with the first text's number; each time it
is called the same numbers."""


@dataclass(frozen=True)
class Ranks:
    """Where the best right answer to each query stands.

    Attributes:
        rank: 1 and how many wrong answers score higher.
        tied: How many wrong answers score exactly as high.
        level: How many right answers score exactly as high, the best one included.
        score: Of the best right answer.
        rival: Of the best wrong one; -inf if there is none.
    """

    rank: Int[Tensor, " Q"]
    tied: Int[Tensor, " Q"]
    level: Int[Tensor, " Q"]
    score: Float[Tensor, " Q"]
    rival: Float[Tensor, " Q"]

    def of(self, chosen: Int[Tensor, " N"]) -> "Ranks":
        """Return the ranks of chosen queries."""
        return Ranks(self.rank[chosen], self.tied[chosen], self.level[chosen], self.score[chosen], self.rival[chosen])


def hits(ranks: Ranks, k: int, ties: Ties) -> Float[Tensor, " Q"]:
    """Return whether a right answer is among the first k, as 0 or 1; in a random order of ties, how likely that is.

    Args:
        ranks: Of the best right answers.
        k: How many answers are looked at.
        ties: What tied answers do.
    """
    if ties != "half":
        return (ranks.rank + (ranks.tied if ties == "against" else 0) <= k).double()
    miss = torch.ones(len(ranks.rank), dtype=torch.float64)
    places = k + 1 - ranks.rank  # of the first k, which the tied and the right ones share
    for place in range(k):
        share = (ranks.tied - place).clamp(min=0) / (ranks.tied + ranks.level - place).clamp(min=1)
        miss = torch.where(places > place, miss * share, miss)
    return 1 - miss


def expected_rank(ranks: Ranks, ties: Ties) -> Float[Tensor, " Q"]:
    """Return the rank; in a random order of ties, its expected value.

    Args:
        ranks: Of the best right answers.
        ties: What tied answers do.
    """
    before = {"against": ranks.tied, "right": torch.zeros_like(ranks.tied), "half": ranks.tied / (ranks.level + 1)}
    return (ranks.rank + before[ties]).double()


@dataclass(frozen=True)
class Pairs:
    """Which texts and images belong together.

    Attributes:
        row: Which distinct text each text is.
        image: Which image each text was written about, counted from 0.
    """

    row: Int[Tensor, " T"]
    image: Int[Tensor, " T"]

    @property
    def distinct(self) -> int:
        """How many distinct texts there are."""
        return int(self.row.max()) + 1

    @property
    def images(self) -> int:
        """How many images there are."""
        return int(self.image.max()) + 1


class TextToImage:
    """Ranks images for texts while blocks go by."""

    def __init__(self, pairs: Pairs, equal_texts: EqualTexts, excluded: Pairs | None = None) -> None:
        """Take the queries.

        Args:
            pairs: Every text is a query.
            equal_texts: What is right for a text that was written about several images.
            excluded: Images that are not in the gallery of a text.
        """
        keys = pairs.row * pairs.images + pairs.image if equal_texts == "own" else pairs.row
        key, self._query = keys.unique(return_inverse=True)
        self._row = key // pairs.images if equal_texts == "own" else key
        right = (self._query * pairs.images + pairs.image).unique()
        self._key, self._image = right // pairs.images, right % pairs.images
        self._excluded = excluded
        counts = (torch.zeros(len(key), dtype=torch.long) for _ in range(3))
        scores = (torch.zeros(len(key)) for _ in range(2))
        self._ranks = Ranks(*counts, *scores)  # made before any block, so that memory does not fall into pieces

    def see(self, start: int, block: Float[Tensor, "_b I"]) -> None:
        """Rank the queries whose text is in a block. Keys stand in the order of their texts."""
        ends = torch.tensor([start, start + len(block)])
        first, last = torch.searchsorted(self._row, ends).tolist()
        rows = block[self._row[first:last] - start]
        low, high = torch.searchsorted(self._key, torch.tensor([first, last])).tolist()
        key, image = self._key[low:high] - first, self._image[low:high]
        score = rows[key, image]
        best = rows.new_full((len(rows),), -torch.inf).scatter_reduce(0, key, score, "amax")
        level = torch.zeros(len(rows), dtype=torch.long).index_add_(0, key, (score == best[key]).long())
        rows[key, image] = -torch.inf
        if self._excluded is not None:
            for place, row in enumerate(self._row[first:last].tolist()):
                rows[place, self._excluded.image[self._excluded.row == row]] = -torch.inf
        done = slice(first, last)
        self._ranks.rank[done] = _count(~(rows <= best[:, None]), 1) + 1
        self._ranks.tied[done] = _count(rows == best[:, None], 1)
        self._ranks.level[done], self._ranks.score[done], self._ranks.rival[done] = level, best, rows.amax(dim=1)

    def ranks(self) -> Ranks:
        """Return the ranks of all queries, text by text."""
        return self._ranks.of(self._query)


class ImageToText:
    """Ranks texts for images. Blocks go by twice: for the best right scores, and to count what beats them."""

    def __init__(self, pairs: Pairs, equal_texts: EqualTexts, images: Int[Tensor, " N"]) -> None:
        """Take the queries.

        Args:
            pairs: Every text is in the gallery, as often as it occurs.
            equal_texts: Whether a text of an image is right wherever else it stands.
            images: Those that are queries.
        """
        self._times = torch.bincount(pairs.row, minlength=pairs.distinct)
        asked = torch.full((pairs.images,), -1)
        asked[images] = torch.arange(len(images))
        mine = asked[pairs.image] >= 0
        both, own = (pairs.row[mine] * len(images) + asked[pairs.image[mine]]).unique(return_counts=True)
        self._row, self._query = both // len(images), both % len(images)
        self._right = (
            own if equal_texts == "own" else self._times[self._row]
        )  # how often it is in the gallery and right
        self._images = images
        self._score = torch.full((len(self._row),), -torch.inf)
        self._above = torch.zeros(len(images), dtype=torch.long)
        self._equal = torch.zeros(len(images), dtype=torch.long)
        self._rival = torch.full((len(images),), -torch.inf)

    def see(self, start: int, block: Float[Tensor, "_b I"]) -> None:
        """Note the scores of right texts in a block."""
        low, high = torch.searchsorted(self._row, torch.tensor([start, start + len(block)])).tolist()
        self._score[low:high] = block[self._row[low:high] - start, self._images[self._query[low:high]]]

    def count(self, start: int, block: Float[Tensor, "_b I"]) -> None:
        """Count the wrong texts in a block that beat the best right ones, after all blocks have been seen."""
        best = self._best()
        low, high = torch.searchsorted(self._row, torch.tensor([start, start + len(block)])).tolist()
        columns = block[:, self._images] if len(self._images) < block.shape[1] else block.clone()
        columns[self._row[low:high] - start, self._query[low:high]] = -torch.inf
        often = (self._times[start : start + len(block)] > 1).nonzero()[:, 0]
        more = (self._times[start : start + len(block)] - 1)[often][:, None]
        above, equal = ~(columns <= best), columns == best
        self._above += _count(above, 0) + (above[often] * more).sum(dim=0)
        self._equal += _count(equal, 0) + (equal[often] * more).sum(dim=0)
        self._rival = torch.maximum(self._rival, columns.amax(dim=0))

    def ranks(self) -> Ranks:
        """Return the ranks of all queries. Equal texts of other images, where they are wrong, count too."""
        best = self._best()
        level_score = self._score == best[self._query]
        elsewhere = self._times[self._row] - self._right
        level = torch.zeros_like(self._equal).index_add_(0, self._query, self._right * level_score)
        equal = self._equal.index_add(0, self._query, elsewhere * level_score)
        wrong = torch.where(elsewhere > 0, self._score, -torch.inf)
        rival = self._rival.scatter_reduce(0, self._query, wrong, "amax")
        return Ranks(self._above + 1, equal, level, best, rival)

    def _best(self) -> Float[Tensor, " N"]:
        return torch.full((len(self._images),), -torch.inf).scatter_reduce(0, self._query, self._score, "amax")


def shared(pairs: Pairs) -> tuple[Bool[Tensor, " T"], Bool[Tensor, " I"]]:
    """Return which texts stand with several images, and which images have such a text."""
    both = (pairs.row * pairs.images + pairs.image).unique()
    several = torch.bincount(both // pairs.images, minlength=pairs.distinct) > 1
    images = torch.zeros(pairs.images, dtype=torch.bool)
    images[(both % pairs.images)[several[both // pairs.images]]] = True
    return several[pairs.row], images


def _count(truths: Bool[Tensor, "A B"], dim: int) -> Int[Tensor, " C"]:
    """How many are true; in 32 bits, which is several times faster."""
    return truths.sum(dim=dim, dtype=torch.int32).long()
