"""Choosing what is right among hard negatives: captions (SugarCrepe's way) and region phrases (FG-OVD's way)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..types import Kind, Negative, Sample
from .bootstrap import mean_of_means, weighted_means
from .encoded import Encoded, Needs
from .result import Metric, Queries, Result, measure
from .scoring import rowwise, some_pairs

Draws = Literal["right", "against"]
"""What a draw with a hard negative counts as."""

Levels = Literal["flat", "groups", "tree"]
"""How kinds are put together: not at all; by the word before their first "_", as SugarCrepe's; or by their path."""


def choose(
    positive: Float[Tensor, " C"],
    negative: Float[Tensor, " K"],
    case: Int[Tensor, " K"],
    ties: Draws = "against",
) -> Bool[Tensor, " C"]:
    """Whether the right text of each case scores highest.

    Args:
        positive: Similarity of each case's right text.
        negative: Similarities of the hard negatives of all cases.
        case: Which case each hard negative belongs to.
        ties: What it means if a hard negative scores exactly as high.

    Returns:
        True for a case without hard negatives, False for NaN.
    """
    bar = positive[case]
    beaten = negative <= bar if ties == "right" else negative < bar
    lost = torch.zeros(len(positive), dtype=torch.long).index_add_(0, case, (~beaten).long())
    return (lost == 0) & ~positive.isnan()


@dataclass(frozen=True)
class CaptionChoice:
    """A picture's caption against each of its hard negatives, one at a time. Chance is 50 %.

    SugarCrepe's protocol (arXiv:2306.14610): a pair is right if the true caption scores above the false one.

    Attributes:
        text: "caption" (hard negatives of the first one) or "long_caption".
        similarity: How a text and a picture are compared: one of the encoder's scores.
        ties: What a draw counts as.
        levels: How the numbers of kinds are put together.
        together: All hard negatives of a caption at once, as ARO's order tests ask. The caption must beat them all.
    """

    text: Literal["caption", "long_caption"] = "caption"
    similarity: str = "global"
    ties: Draws = "against"
    levels: Levels = "flat"
    together: bool = False

    @property
    def name(self) -> str:
        """Of the text that is chosen."""
        return f"{self.text}_choice"

    @property
    def unit(self) -> str:
        """Of a true text and a hard negative, or of a true text and all of them."""
        return "cases" if self.together else "pairs"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many pairs, or cases, there are."""
        negatives = (len(self._negatives(sample)) for sample in samples)
        return sum(number > 0 if self.together else number for number in negatives)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """True texts and hard negatives, and token sets unless whole embeddings are compared."""
        texts = [
            text
            for sample in samples
            if self._negatives(sample)
            for text in (self._true(sample), *(negative.text for negative in self._negatives(sample)))
        ]
        return Needs({self._kind: texts}, similarity=self.similarity)

    def __call__(self, encoded: Encoded) -> Result:
        """Compare each true text with each of its hard negatives."""
        true: list[str] = []
        false: list[Negative] = []
        pictures: list[int] = []
        case: list[int] = []
        for sample, picture in zip(encoded.samples, encoded.picture.tolist(), strict=True):
            for place, negative in enumerate(self._negatives(sample)):
                case.append(case[-1] if self.together and place else (case[-1] + 1 if case else 0))
                true.append(self._true(sample))
                false.append(negative)
                pictures.append(picture)
        picture, number = torch.tensor(pictures), torch.tensor(case)
        positive = self._scores(encoded, true, picture)
        rival = self._scores(encoded, [negative.text for negative in false], picture)
        first = torch.searchsorted(number, torch.arange(int(number[-1]) + 1))  # of the pairs of each case
        right = choose(positive[first], rival, number, self.ties)
        best = rival.new_full((len(first),), -torch.inf).scatter_reduce(0, number, rival, "amax")
        tied = int((positive == rival).sum())
        picture = picture[first]
        chance = 100 * (1 / (1 + torch.bincount(number))).mean()
        return Result(
            metrics=pair_metrics(right, picture, [false[place].kind for place in first.tolist()], self.levels),
            queries={self.unit: Queries(right.long(), picture, score=positive[first], rival=best)},
            notes=(f"chance {chance:.1f}; {tied} ties count {_as(self.ties)}",),
            tied=tied,
        )

    @property
    def _kind(self) -> Kind:
        return self.text

    def _true(self, sample: Sample) -> str:
        return sample.captions[0] if self.text == "caption" else sample.long_caption

    def _negatives(self, sample: Sample) -> tuple[Negative, ...]:
        return sample.caption_negatives if self.text == "caption" else sample.long_caption_negatives

    def _scores(self, encoded: Encoded, texts: list[str], picture: Int[Tensor, " Q"]) -> Float[Tensor, " Q"]:
        return some_pairs(encoded, self._kind, encoded.rows(texts, self._kind), picture, self.similarity)


@dataclass(frozen=True)
class RegionChoice:
    """A box is given: its phrase against all of its hard negatives at once.

    FG-OVD's protocol as in FG-CLIP's code (arXiv:2505.05071): right if the true phrase has the highest score, and
    a draw with a hard negative counts as right. With ten hard negatives chance is 9 %.

    Attributes:
        ties: What a draw counts as.
    """

    ties: Draws = "right"

    @property
    def name(self) -> str:
        """Of the text that is chosen."""
        return "region_choice"

    @property
    def unit(self) -> str:
        """That have hard negatives."""
        return "regions"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many regions have hard negatives."""
        return sum(bool(region.negatives) for sample in samples for region in sample.regions)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """Every box, every phrase and every hard negative."""
        texts = [
            text
            for sample in samples
            for region in sample.regions
            if region.negatives
            for text in (region.phrase, *(negative.text for negative in region.negatives))
        ]
        return Needs({"phrase": texts}, regions=True)

    def __call__(self, encoded: Encoded) -> Result:
        """Compare each box with its phrase and all hard negatives."""
        assert encoded.regions is not None
        regions = [region for sample in encoded.samples for region in sample.regions]
        numbers = torch.tensor([number for number, region in enumerate(regions) if region.negatives])
        cases = [region for region in regions if region.negatives]
        false = [negative for region in cases for negative in region.negatives]
        case = torch.arange(len(cases)).repeat_interleave(torch.tensor([len(region.negatives) for region in cases]))
        boxes = encoded.regions[numbers]
        phrases = encoded.texts["phrase"].embedding
        phrase_rows = encoded.rows((region.phrase for region in cases), "phrase")
        negative_rows = encoded.rows((negative.text for negative in false), "phrase")
        positive = rowwise(boxes, phrases, torch.arange(len(cases)), phrase_rows)
        negative = rowwise(boxes, phrases, case, negative_rows)
        right = choose(positive, negative, case, self.ties)
        picture = encoded.region_picture[numbers]
        metrics = {"top1": measure(right, picture)}
        metrics |= self._by_kind(positive, negative, case, [negative.kind for negative in false], picture)
        tied = choose(positive, negative, case, "right") & ~choose(positive, negative, case, "against")
        chance = 100 * (1 / (1 + torch.bincount(case))).mean()
        equal = (phrase_rows[case] == negative_rows).double()
        twins = int(torch.bincount(case, equal, minlength=len(cases)).count_nonzero())
        notes = [f"chance {chance:.1f}; {int(tied.sum())} ties count {_as(self.ties)}"]
        if twins:
            notes.append(f"{twins} regions have their own phrase among the hard negatives")
        best = negative.new_full((len(cases),), -torch.inf).scatter_reduce(0, case, negative, "amax")
        queries = Queries(right.long(), picture, score=positive, rival=best)
        return Result(metrics, {"regions": queries}, notes=tuple(notes), tied=int(tied.sum()))

    def _by_kind(
        self,
        positive: Float[Tensor, " C"],
        negative: Float[Tensor, " K"],
        case: Int[Tensor, " K"],
        kinds: list[str],
        picture: Int[Tensor, " C"],
    ) -> dict[str, Metric]:
        """Accuracy against the hard negatives of each kind alone, where they have kinds."""
        names, kind = _numbered(kinds)
        if len(names) < 2:
            return {}
        metrics = {}
        for number, name in enumerate(names):
            mask = kind == number
            cases, short = case[mask].unique(return_inverse=True)
            right = choose(positive[cases], negative[mask], short, self.ties)
            metrics[f"against {name}"] = measure(right, picture[cases])
        return metrics


def pair_metrics(
    right: Bool[Tensor, " Q"], picture: Int[Tensor, " Q"], kinds: Sequence[str], levels: Levels = "flat"
) -> dict[str, Metric]:
    """Accuracy of each kind and the mean of the kinds, in percent.

    Args:
        right: The outcome of each pair.
        picture: Which picture each pair is about.
        kinds: What is wrong in each pair's hard negative. An empty name is filed as "other".
        levels: How kinds are put together.

    Returns:
        By kind, in order of appearance, then by group of kinds, and "mean", in which every kind counts as much (in a
        tree: every branch), and "all", in which every pair does, where there are several kinds.
    """
    names, kind = _numbered(kinds)
    metrics = {name: measure(right[kind == number], picture[kind == number]) for number, name in enumerate(names)}
    groups = dict.fromkeys(_group(name, levels) for name in names) if levels != "flat" else {}
    for group in groups:
        inside = torch.tensor([_group(name, levels) == group for name in names])
        share = _shares([name if inside[number] else "" for number, name in enumerate(names)], levels)
        metrics[group] = measure(right, picture, weighted_means(kind, share))
    if levels == "tree":
        metrics["mean"] = measure(right, picture, weighted_means(kind, _shares(names, levels)))
    else:
        metrics["mean"] = measure(right, picture, mean_of_means(kind))
    return metrics | ({"all": measure(right, picture)} if len(names) > 1 else {})


def _group(name: str, levels: Levels) -> str:
    return name.partition("_" if levels == "groups" else "/")[0]


def _shares(names: Sequence[str], levels: Levels) -> Float[Tensor, " N"]:
    """How much each kind counts; empty names count nothing. Every branch of a tree counts as much as its siblings."""
    if levels != "tree":
        present = torch.tensor([float(bool(name)) for name in names], dtype=torch.float64)
        return present / present.sum()
    paths = [tuple(name.split("/")) if name else () for name in names]
    children: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        for depth, step in enumerate(path):
            children.setdefault(path[:depth], set()).add(step)
    shares = [prod(1 / len(children[path[:depth]]) for depth in range(len(path))) if path else 0.0 for path in paths]
    return torch.tensor(shares, dtype=torch.float64)


def _as(ties: Draws) -> str:
    return "as right" if ties == "right" else "as wrong"


def _numbered(kinds: Sequence[str]) -> tuple[list[str], Int[Tensor, " Q"]]:
    """The distinct kinds in order of appearance, and the number of each."""
    number: dict[str, int] = {}
    kind = [number.setdefault(name or "other", len(number)) for name in kinds]
    return list(number), torch.tensor(kind, dtype=torch.long)
