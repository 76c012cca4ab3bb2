"""Retrieval both ways between whole pictures and their texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..types import Kind, Sample
from .bootstrap import median
from .encoded import Encoded, Needs
from .ranking import Pairs, Rankings, Ranks, expected_rank, hits
from .result import EqualTexts, Metric, Queries, Result, Ties, measure
from .scoring import tiles

CUTOFFS = (1, 5, 10)
_CELLS = 20_000_000  # compared at once


def ranks(similarity: Float[Tensor, "Q G"], query: Int[Tensor, " M"], answer: Int[Tensor, " M"]) -> Int[Tensor, " Q"]:
    """Rank of the best right answer to each query, counted from 1.

    Ties count against the model: whatever is wrong and scores as high as the best right answer stands before it
    (as does NaN). Right answers never stand in each other's way.

    Args:
        similarity: Of every query to everything in the gallery.
        query: Which query each right pair is about. Every query needs one pair at least, and no pair twice.
        answer: The gallery's right answer of that pair.

    Returns:
        1 for a query whose best answer is right; G - 1 + 1 for one whose only right answer scores lowest.

    Raises:
        ValueError: If a query has no right answer.
    """
    have = torch.zeros(len(similarity), dtype=torch.bool).index_fill_(0, query, value=True)
    if not bool(have.all()):
        raise ValueError(f"Query {int((~have).nonzero()[0])} has no right answer in the gallery. Leave it out.")
    right = similarity[query, answer]
    best = similarity.new_full((len(similarity),), -torch.inf).scatter_reduce(0, query, right, "amax")
    step = max(1, _CELLS // similarity.shape[1])
    blocks = zip(similarity.split(step), best.split(step), strict=True)
    before = torch.cat([(~(rows < bar[:, None])).sum(dim=1) for rows, bar in blocks])
    themselves = torch.zeros_like(before).index_add_(0, query, (~(right < best[query])).to(before.dtype))
    return 1 + before - themselves


def rank_metrics(name: str, rank: Int[Tensor, " Q"], picture: Int[Tensor, " Q"]) -> dict[str, Metric]:
    """Recall at 1, 5 and 10 in percent, median and mean rank.

    Args:
        name: Of the direction; begins each metric's name.
        rank: Of each query.
        picture: Which picture each query is about.

    Returns:
        "NAME@1", "NAME@5", "NAME@10", "NAME_median_rank", "NAME_mean_rank". All ranks 1: 100, 100, 100, 1, 1.
    """
    metrics = {f"{name}@{k}": measure(rank <= k, picture) for k in CUTOFFS}
    metrics[f"{name}_median_rank"] = measure(rank, picture, median)
    metrics[f"{name}_mean_rank"] = measure(rank, picture)
    return metrics


Direction = Literal["text_to_image", "image_to_text"]
WAYS: tuple[Direction, ...] = ("text_to_image", "image_to_text")


@dataclass(frozen=True)
class Retrieval:
    """A text finds its picture among all pictures, and a picture finds any of its texts among all texts.

    Every text of every picture is a query and a member of the gallery, as often as it occurs.

    Attributes:
        text: "caption": all of them, "first_caption": one per sample, or "long_caption".
        similarity: How a text and a picture are compared: one of the encoder's scores.
        equal_texts: Whether a text that several pictures share is right with each of them, or with its own alone.
        ties: What a wrong answer that scores exactly as the right one does.
        directions: Which ways are measured.
        read_as: How the texts are encoded. None: as `text` says.
    """

    text: Literal["caption", "first_caption", "long_caption"] = "caption"
    similarity: str = "global"
    equal_texts: EqualTexts = "any"
    ties: Ties = "against"
    directions: tuple[Direction, ...] = WAYS
    read_as: Kind | None = None

    @property
    def name(self) -> str:
        """Of the text that is looked for, unless the protocol says how it is read."""
        return "retrieval" if self.read_as else f"{self.text}_retrieval"

    @property
    def unit(self) -> str:
        """A text is one query; a picture is the other way's."""
        return "long captions" if self.kind == "long_caption" else "captions"

    @property
    def kind(self) -> Kind:
        """How the texts are encoded."""
        return self.read_as or ("long_caption" if self.text == "long_caption" else "caption")

    def count(self, samples: Iterable[Sample]) -> int:
        """How many texts there are."""
        return sum(len(self._texts(sample)) for sample in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """The texts, and token sets unless whole embeddings are compared."""
        texts = [text for sample in samples for text in self._texts(sample)]
        return Needs({self.kind: texts}, similarity=self.similarity)

    def __call__(self, encoded: Encoded) -> Result:
        """Rank all texts for all pictures and all pictures for all texts."""
        texts: list[str] = []
        pictures: list[int] = []
        for sample, picture in zip(encoded.samples, encoded.picture.tolist(), strict=True):
            sample_texts = self._texts(sample)
            texts += sample_texts
            pictures += [picture] * len(sample_texts)
        gallery, inverse = torch.tensor(pictures).unique(return_inverse=True)  # pictures that have a text
        distinct, row = encoded.rows(texts, self.kind).unique(return_inverse=True)
        compared = tiles(encoded, self.kind, distinct, gallery, self.similarity)
        ranking = Rankings(Pairs(row, inverse), compared, back="image_to_text" in self.directions)
        ranks = {way: _ranks(ranking, way, self.equal_texts) for way in self.directions}
        owner = {"text_to_image": inverse, "image_to_text": torch.arange(len(gallery))}
        metrics: dict[str, Metric] = {}
        for way in self.directions:
            metrics |= ranked_metrics(way, ranks[way], owner[way], self.ties)
        place = {"text_to_image": gallery[inverse], "image_to_text": gallery}
        tied = sum(int((ranks[way].tied > 0).sum()) for way in self.directions)
        return Result(
            metrics=metrics,
            queries={way: _queries(ranks[way], place[way]) for way in self.directions},
            notes=(f"{len(texts):,} texts, {len(gallery):,} pictures", *self._notes(ranking, tied)),
            tied=tied,
        )

    def _notes(self, ranking: Rankings, tied: int) -> tuple[str, ...]:
        """Ties, and what the rule would give that equal texts are right with each picture and ties count against."""
        if self.equal_texts == "any":
            return ()
        ties = f"{tied:,} queries with a tie, which counts as {self.ties}"
        if not tied and not ranking.ambiguous:
            return (ties,)
        right = {way: hits(_ranks(ranking, way, "any"), 1, "against").mean().item() for way in self.directions}
        values = ", ".join(f"{way}@1 {100 * right[way]:.1f}" for way in reversed(WAYS) if way in right)
        return ties, f"equal texts right with any picture and ties against: {values}"

    def _texts(self, sample: Sample) -> tuple[str, ...]:
        if self.text == "long_caption":
            return (sample.long_caption,) if sample.long_caption else ()
        return sample.captions[:1] if self.text == "first_caption" else sample.captions


def _ranks(ranking: Rankings, way: Direction, equal_texts: EqualTexts) -> Ranks:
    return getattr(ranking, way)(equal_texts)


def ranked_metrics(name: str, ranks: Ranks, picture: Int[Tensor, " Q"], ties: Ties) -> dict[str, Metric]:
    """Return recall at 1, 5 and 10 in percent, and the median and mean rank.

    Args:
        name: Of the direction.
        ranks: Of the best right answers.
        picture: Which picture each query is about.
        ties: What tied answers do.
    """
    rank = expected_rank(ranks, ties)
    metrics = {f"{name}@{k}": measure(100 * hits(ranks, k, ties), picture) for k in CUTOFFS}
    metrics[f"{name}_median_rank"] = measure(rank, picture, median)
    metrics[f"{name}_mean_rank"] = measure(rank, picture)
    return metrics


def _queries(ranks: Ranks, picture: Int[Tensor, " Q"]) -> Queries:
    return Queries(ranks.rank, picture, tied=ranks.tied, score=ranks.score, rival=ranks.rival)


def right_pairs(row: Int[Tensor, " T"], target: Int[Tensor, " T"]) -> tuple[Int[Tensor, " M"], Int[Tensor, " M"]]:
    """Every pair of a query and a target that belong together, each once.

    Args:
        row: Which distinct text each query is. Equal texts share their targets.
        target: What each query was written about.
    """
    targets: dict[int, set[int]] = {}
    for text, image in zip(row.tolist(), target.tolist(), strict=True):
        targets.setdefault(text, set()).add(image)
    pairs = [(query, image) for query, text in enumerate(row.tolist()) for image in sorted(targets[text])]
    query, answer = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(dim=1)
    return query, answer
