"""Galleries with groups: the others of a group are left out, or several images of it are right."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..types import Kind, Sample
from .encoded import Encoded, Needs
from .ranking import Pairs, Rankings, hits
from .result import EqualTexts, Queries, Result, Ties, measure
from .retrieval import ranked_metrics
from .scoring import all_pairs, tiles


@dataclass(frozen=True)
class GroupedGallery:
    """A text finds its image among all images, but the others of its group are not in its gallery (SORCE-1K).

    The images of a group show the same at several zooms. A sample's id is `group/member`; a sample with a caption is
    what the caption looks for.

    Attributes:
        kind: How captions are encoded.
        similarity: How an image and a caption are compared: one of the encoder's scores.
        equal_texts: Whether a text is right with its own image alone.
        ties: What an image that scores exactly as the right one does.
    """

    kind: Kind = "caption"
    similarity: str = "global"
    equal_texts: EqualTexts = "own"
    ties: Ties = "half"

    @property
    def name(self) -> str:
        """Of the task."""
        return "grouped_gallery"

    @property
    def unit(self) -> str:
        """A text is a query."""
        return "captions"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many texts there are."""
        return sum(len(sample.captions) for sample in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """All texts."""
        return Needs({self.kind: [text for sample in samples for text in sample.captions]}, similarity=self.similarity)

    def __call__(self, encoded: Encoded) -> Result:
        """Rank all images for all texts."""
        members: dict[str, list[int]] = {}
        for number, sample in enumerate(encoded.samples):
            members.setdefault(sample.id.rpartition("/")[0], []).append(number)
        texts: list[str] = []
        right: list[int] = []
        hidden: list[tuple[int, int]] = []
        for number, sample in enumerate(encoded.samples):
            for text in sample.captions:
                hidden += [(len(texts), member) for member in members[sample.id.rpartition("/")[0]] if member != number]
                texts.append(text)
                right.append(number)
        distinct, row = encoded.rows(texts, self.kind).unique(return_inverse=True)
        picture = torch.tensor(right)
        hidden_pairs = torch.tensor(hidden, dtype=torch.long).reshape(-1, 2)
        compared = tiles(encoded, self.kind, distinct, encoded.picture, self.similarity)
        excluded = Pairs(hidden_pairs[:, 0], hidden_pairs[:, 1])
        ranking = Rankings(Pairs(row, picture), compared, back=False, excluded=excluded)
        ranks = ranking.text_to_image(self.equal_texts)
        beaten = torch.bincount(hidden_pairs[:, 0], minlength=len(texts)) * (ranks.score < 0)  # by what is set to 0
        zeroed = 100 * hits(replace(ranks, rank=ranks.rank + beaten), 1, self.ties).mean().item()
        note = (f"text_to_image@1 {zeroed:.1f} if scores are set to 0 instead, as published code does",)
        return Result(
            metrics=ranked_metrics("text_to_image", ranks, picture, self.ties),
            queries={"text_to_image": Queries(ranks.rank, picture, ranks.tied, ranks.score, ranks.rival)},
            notes=(f"{len(texts):,} texts, {len(encoded.samples):,} pictures", *(note if beaten.any() else ())),
            tied=int((ranks.tied > 0).sum()),
        )


@dataclass(frozen=True)
class Ranking:
    """A text, and an image, rank a gallery that holds several right images: mean average precision at k (ILIAS).

    A sample with a caption is a query and not in the gallery. Average precision is divided by the number of right
    images, or by k if that is less. Ties count against the model.

    Attributes:
        right: Ids of the right images of a query, by the query's id.
        k: How many images are looked at.
        kind: How texts are encoded.
        similarity: How an image and a text are compared: one of the encoder's scores. Images compare by embeddings.
    """

    right: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    k: int = 50
    kind: Kind = "caption"
    similarity: str = "global"

    @property
    def name(self) -> str:
        """Of the task."""
        return "ranking"

    @property
    def unit(self) -> str:
        """Of a text and an image."""
        return "queries"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many queries there are."""
        return sum(bool(sample.captions) for sample in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """The texts."""
        return Needs({self.kind: [text for sample in samples for text in sample.captions]}, similarity=self.similarity)

    def __call__(self, encoded: Encoded) -> Result:
        """Rank the gallery for every query."""
        queries = [number for number, sample in enumerate(encoded.samples) if sample.captions]
        gallery = [number for number, sample in enumerate(encoded.samples) if not sample.captions]
        ids = [encoded.samples[number].id for number in gallery]
        query_samples = [encoded.samples[number] for number in queries]
        right_ids = [set(self.right[sample.id]) for sample in query_samples]
        truth = torch.tensor([[name in names for name in ids] for names in right_ids])
        pictures = encoded.picture[torch.tensor(gallery)]
        row = encoded.rows((sample.captions[0] for sample in query_samples), self.kind)
        by_text = all_pairs(encoded, self.kind, row, pictures, self.similarity)
        embedding = encoded.images.embedding
        by_image = embedding[encoded.picture[torch.tensor(queries)]] @ embedding[pictures].T
        place = torch.arange(len(queries))
        number = torch.tensor([len(names) for names in right_ids])
        metrics, outcomes = {}, {}
        for name, similarity in (("text_to_image", by_text), ("image_to_image", by_image)):
            value = average_precision(similarity, truth, number, self.k)
            metrics[f"{name}_mAP@{self.k}"] = measure(100 * value, place)
            outcomes[name] = Queries((value > 0).long(), place, value=value.float())
        return Result(metrics, outcomes, notes=(f"{len(queries):,} queries, {len(gallery):,} pictures",))


def average_precision(
    similarity: Float[Tensor, "Q G"], truth: Bool[Tensor, "Q G"], right: Int[Tensor, " Q"], k: int
) -> Float[Tensor, " Q"]:
    """Return the mean, over right answers among the first k, of the share of right ones up to each.

    Args:
        similarity: Of every query to everything in the gallery.
        truth: Whether it is right.
        right: How many right answers each query has, those too that the gallery lacks.
        k: How many answers are looked at.

    Returns:
        1 if the first answers are all right; 0 if none of the first k is, or there is none.
    """
    ranked = similarity.sort(dim=1, descending=True, stable=True)
    truth = truth.gather(1, ranked.indices)
    order = (2 * _places(ranked.values) + truth.long()).argsort(dim=1, stable=True)  # wrong ones first in a tie
    hit = truth.gather(1, order)[:, :k].double()
    precision = hit.cumsum(dim=1) / torch.arange(1, hit.shape[1] + 1)
    return (precision * hit).sum(dim=1) / right.clamp(min=1, max=k)


def _places(values: Float[Tensor, "Q G"]) -> Tensor:
    """Numbers that rise by one wherever a sorted row falls, so that ties stand on one place."""
    falls = (values.diff(dim=1) != 0).long()
    return torch.cat([falls.new_zeros(len(values), 1), falls], dim=1).cumsum(dim=1)
