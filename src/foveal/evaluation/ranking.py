"""Ranks of right answers, both ways between texts and images, without the whole matrix of similarities in memory.

Equal texts are compared once; how often each occurs in the gallery is counted. Tiles of the matrix that hold a right
pair are needed twice: first for the scores of right answers, then, with all others, to count what beats them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .result import EqualTexts, Ties


@dataclass(frozen=True)
class Tiles:
    """Similarities of distinct texts to images, tile by tile.

    Attributes:
        texts: How many there are.
        images: How many there are.
        compute: Gives some texts' similarities to some images, in a tensor of its own; each time the same numbers.
        height: Texts of a tile.
        width: Images of a tile.
        budget: Bytes of tiles that are kept between their two uses.
    """

    texts: int
    images: int
    compute: Callable[[slice, slice], Float[Tensor, "_t _i"]]
    height: int = 1024
    width: int = 512
    budget: int = 64 * 2**20
    _tiles: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """Yield the texts and images of each tile."""
        for top in range(0, self.texts, self.height):
            for left in range(0, self.images, self.width):
                yield slice(top, min(top + self.height, self.texts)), slice(left, min(left + self.width, self.images))

    def tile(self, rows: slice, columns: slice) -> Float[Tensor, "_t _i"]:
        """Return a tile, which is the caller's to change.

        The last ones are parts of tiles of full size: arithmetic on narrow matrices differs in the last bit, and equal
        embeddings must tie wherever they stand.
        """
        tile = self._tiles.pop((rows.start, columns.start), None)
        if tile is not None:
            return tile
        top, left = max(0, rows.stop - self.height), max(0, columns.stop - self.width)
        whole = self.compute(slice(top, rows.stop), slice(left, columns.stop))
        return whole[rows.start - top :, columns.start - left :]

    def pairs(self, row: Int[Tensor, " M"], image: Int[Tensor, " M"]) -> Float[Tensor, " M"]:
        """Return the similarities of chosen pairs, as they stand in their tiles.

        Args:
            row: Text of each pair, in ascending order.
            image: Image of each pair.
        """
        scores = torch.empty(len(row))
        for rows, columns in self:
            inside = _inside(row, image, rows, columns)
            if len(inside):
                tile = self.tile(rows, columns)
                scores[inside] = tile[row[inside] - rows.start, image[inside] - columns.start]
                if (len(self._tiles) + 1) * tile.untyped_storage().nbytes() <= self.budget:
                    self._tiles[rows.start, columns.start] = tile
        return scores


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

    def take(self, queries: Int[Tensor, " N"]) -> "Ranks":
        """Return the ranks of some queries."""
        return Ranks(*(column[queries] for column in self.columns()))

    def replaced(self, queries: Int[Tensor, " N"], ranks: "Ranks") -> "Ranks":
        """Return ranks of which those of some queries are others."""
        return Ranks(*(a.index_copy(0, queries, b) for a, b in zip(self.columns(), ranks.columns(), strict=True)))

    def columns(self) -> tuple[Tensor, ...]:
        """Return all fields, in their order."""
        return self.rank, self.tied, self.level, self.score, self.rival


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


class Rankings:
    """Everything compared once: ranks of both directions, under both rules for equal texts."""

    def __init__(self, pairs: Pairs, tiles: Tiles, *, back: bool = True, excluded: Pairs | None = None) -> None:
        """Compare all texts with all images.

        Args:
            pairs: Every text is a query, and in the gallery as often as it occurs.
            tiles: Similarities of its distinct texts to its images.
            back: Rank texts for images, too.
            excluded: Images that are not in the gallery of a text, which stands here by its place in `pairs`. Only
                without `back`.
        """
        self._pairs = pairs
        key, self._pair = (pairs.row * pairs.images + pairs.image).unique(return_inverse=True)
        self._row, self._image = key // pairs.images, key % pairs.images  # of each right pair, text by text
        self._score = tiles.pairs(self._row, self._image)
        self._several = (torch.bincount(self._row)[self._row] > 1).nonzero()[:, 0]  # whose text has other images
        self._set_aside(excluded)
        self._of_text = _Counts(_highest(self._score, self._row, pairs.distinct))
        self._of_pair = _Counts(self._score[self._several])  # where "own" and "any" differ
        self._of_image = _Counts(_highest(self._score, self._image, pairs.images)) if back else None
        self._times = torch.bincount(pairs.row)
        for rows, columns in tiles:
            self._count(rows, columns, tiles.tile(rows, columns))

    @property
    def ambiguous(self) -> bool:
        """True if a text belongs to several images, so that the rules for equal texts differ."""
        return len(self._several) > 0

    def text_to_image(self, equal_texts: EqualTexts) -> Ranks:
        """Return the ranks of images, text by text.

        Args:
            equal_texts: What is right for a text that was written about several images.
        """
        level_score = self._score == self._of_text.best[self._row]
        by_text = self._of_text.ranks(torch.bincount(self._row[level_score], minlength=self._pairs.distinct))
        if equal_texts == "any":
            return by_text.take(self._pairs.row)
        by_pair = self._of_pair.ranks(torch.ones_like(self._several))
        return by_text.take(self._row).replaced(self._several, by_pair).take(self._pair)

    def image_to_text(self, equal_texts: EqualTexts) -> Ranks:
        """Return the ranks of texts, image by image.

        Args:
            equal_texts: Whether a text of an image is right wherever else it stands.
        """
        counts = self._of_image
        assert counts is not None, "texts were not ranked"
        times = self._times[self._row]
        right = torch.bincount(self._pair) if equal_texts == "own" else times
        elsewhere = times - right  # equal texts of other images, where they are wrong
        level_score = (self._score == counts.best[self._image]).long()
        ranks = counts.ranks(torch.zeros_like(counts.above).index_add_(0, self._image, right * level_score))
        tied = ranks.tied.index_add(0, self._image, elsewhere * level_score)
        wrong = torch.where(elsewhere > 0, self._score, -torch.inf)
        return replace(ranks, tied=tied, rival=ranks.rival.scatter_reduce(0, self._image, wrong, "amax"))

    def _set_aside(self, excluded: Pairs | None) -> None:
        """Note which images count as wrong neither for a text, nor for one of the pairs that are ranked alone."""
        place = torch.full_like(self._row, -1).index_copy_(0, self._several, torch.arange(len(self._several)))
        aside = Pairs(self._row, self._image), Pairs(place, self._image)
        if excluded is not None:
            pair, image = self._pair[excluded.row], torch.cat([self._image, excluded.image])
            aside = (
                Pairs(torch.cat([self._row, self._row[pair]]), image),
                Pairs(torch.cat([place, place[pair]]), image),
            )
        self._aside, self._aside_alone = map(_ascending, aside)

    def _count(self, rows: slice, columns: slice, tile: Float[Tensor, "_t _i"]) -> None:
        """Count the wrong answers of a tile; what is not wrong is taken out of it."""
        low, high = torch.searchsorted(self._row[self._several], torch.tensor([rows.start, rows.stop])).tolist()
        alone = tile[self._row[self._several[low:high]] - rows.start]
        _take_out(alone, self._aside_alone, slice(low, high), columns)
        self._of_pair.see(slice(low, high), alone)
        _take_out(tile, self._aside, rows, columns)
        self._of_text.see(rows, tile)
        if self._of_image is not None:
            self._of_image.see(columns, tile.T, self._times[rows])


class _Counts:
    """What stands before the best right answer of each query, level with it, and next to it."""

    def __init__(self, best: Float[Tensor, " Q"]) -> None:
        self.best = best
        self.above = torch.zeros(len(best), dtype=torch.long)
        self.equal = torch.zeros(len(best), dtype=torch.long)
        self.rival = torch.full((len(best),), -torch.inf)

    def see(self, queries: slice, wrong: Float[Tensor, "_q _g"], times: Int[Tensor, " _g"] | None = None) -> None:
        """Count some wrong answers of some queries; each as often as it is in the gallery."""
        if not wrong.numel():
            return
        best = self.best[queries, None]
        below, equal = wrong <= best, wrong == best
        self.above[queries] += wrong.shape[1] - _count(below)
        self.equal[queries] += _count(equal)
        self.rival[queries] = torch.maximum(self.rival[queries], wrong.amax(dim=1))
        if times is not None:
            often = (times > 1).nonzero()[:, 0]
            more = times[often] - 1
            self.above[queries] += (~below[:, often] * more).sum(dim=1)
            self.equal[queries] += (equal[:, often] * more).sum(dim=1)

    def ranks(self, level: Int[Tensor, " Q"]) -> Ranks:
        """Return ranks, given how many right answers are level with the best."""
        return Ranks(self.above + 1, self.equal, level, self.best, self.rival)


def _ascending(pairs: Pairs) -> Pairs:
    """The pairs in the order of their texts."""
    order = pairs.row.argsort(stable=True)
    return Pairs(pairs.row[order], pairs.image[order])


def _inside(row: Int[Tensor, " M"], image: Int[Tensor, " M"], rows: slice, columns: slice) -> Int[Tensor, " N"]:
    """Which pairs lie in a tile. Their texts ascend."""
    low, high = torch.searchsorted(row, torch.tensor([rows.start, rows.stop])).tolist()
    columns_too = (image[low:high] >= columns.start) & (image[low:high] < columns.stop)
    return low + columns_too.nonzero()[:, 0]


def _take_out(tile: Float[Tensor, "_t _i"], pairs: Pairs, rows: slice, columns: slice) -> None:
    """Lower the pairs in a tile below everything."""
    inside = _inside(pairs.row, pairs.image, rows, columns)
    tile[pairs.row[inside] - rows.start, pairs.image[inside] - columns.start] = -torch.inf


def _highest(scores: Float[Tensor, " M"], query: Int[Tensor, " M"], queries: int) -> Float[Tensor, " Q"]:
    """The highest score of each query."""
    return torch.full((queries,), -torch.inf).scatter_reduce(0, query, scores, "amax")


def _count(truths: Bool[Tensor, "A B"]) -> Int[Tensor, " A"]:
    """How many of each row are true; in 32 bits, which is several times faster."""
    return truths.sum(dim=1, dtype=torch.int32).long()
