"""Regions: which class is in a box, and which box a phrase means."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from ..encoder.prompts import PLAIN, filled
from ..types import Sample
from .classification import Classes, class_names, classify
from .encoded import Encoded, Needs
from .result import Queries, Result, Ties
from .retrieval import rank_metrics, ranks


@dataclass(frozen=True)
class RegionClassification:
    """Which class a box shows; a region's phrase is its class. Every box counts, crowds too (FG-CLIP's protocol).

    Attributes:
        classes: All that compete; phrases outside are refused. None: those that the regions name.
        prompts: With {} for the class name; more than one make an ensemble.
        ties: What a class that scores exactly as the right one does.
    """

    classes: tuple[str, ...] | None = None
    prompts: tuple[str, ...] = PLAIN
    ties: Ties = "against"

    @property
    def name(self) -> str:
        """Of the task."""
        return "region_classification"

    @property
    def unit(self) -> str:
        """A region is one query."""
        return "regions"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many regions there are."""
        return sum(len(sample.regions) for sample in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """Every box, and every class in every prompt."""
        names = class_names(self.classes, _phrases(samples))
        return Needs({"phrase": filled(self.prompts, names)}, regions=True)

    def __call__(self, encoded: Encoded) -> Result:
        """Compare boxes and classes."""
        assert encoded.regions is not None
        own = _phrases(encoded.samples)
        names = class_names(self.classes, own)
        number = {name: place for place, name in enumerate(names)}
        label = torch.tensor([number[name] for name in own])
        classes = Classes(names, self.prompts, "phrase", ties=self.ties)
        return classify(encoded, encoded.regions, label, encoded.region_picture, classes)


@dataclass(frozen=True)
class RegionRetrieval:
    """A phrase finds its box among the boxes of all pictures, and a box finds its phrase among all phrases.

    Equal phrases are one query, right with every box that any of them was written about.
    """

    @property
    def name(self) -> str:
        """Of the task."""
        return "region_retrieval"

    @property
    def unit(self) -> str:
        """A region is one query, and so is each distinct phrase."""
        return "regions"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many regions there are."""
        return sum(len(sample.regions) for sample in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """Every box and every phrase."""
        return Needs({"phrase": _phrases(samples)}, regions=True)

    def __call__(self, encoded: Encoded) -> Result:
        """Rank all boxes for all phrases and all phrases for all boxes."""
        assert encoded.regions is not None
        phrases = _phrases(encoded.samples)
        texts = list(dict.fromkeys(phrases))
        number = {text: row for row, text in enumerate(texts)}
        region = torch.arange(len(phrases))
        text = torch.tensor([number[phrase] for phrase in phrases])
        similarity = encoded.embeddings(texts, "phrase") @ encoded.regions.T
        forth, back = ranks(similarity, text, region), ranks(similarity.T, region, text)
        itself = torch.arange(len(texts))  # a phrase is of many pictures, so it is drawn by itself
        picture = encoded.region_picture
        return Result(
            metrics=rank_metrics("text_to_region", forth, itself) | rank_metrics("region_to_text", back, picture),
            queries={"text_to_region": Queries(forth, itself), "region_to_text": Queries(back, picture)},
            notes=(f"{len(texts):,} distinct phrases, {len(phrases):,} regions",),
        )


def _phrases(samples: Iterable[Sample]) -> list[str]:
    return [region.phrase for sample in samples for region in sample.regions]
