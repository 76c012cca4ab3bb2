"""Texts that grow: does similarity grow with them?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..types import Kind, Sample
from .encoded import Encoded, Needs
from .result import Queries, Result, measure
from .scoring import some_pairs


@dataclass(frozen=True)
class Growing:
    """HiMo@K (arXiv:2511.06653): per image the correlation of 1 to K with the similarities of its K growing texts.

    A sample's captions are the texts, short to long. The number is the mean over images; 0 for an image whose texts are
    all equally similar.

    Attributes:
        kind: How the texts are encoded.
        similarity: How an image and a text are compared: one of the encoder's scores.
    """

    kind: Kind = "long_caption"
    similarity: str = "global"

    @property
    def name(self) -> str:
        """Of the task."""
        return "growing_texts"

    @property
    def unit(self) -> str:
        """Steps of all images."""
        return "texts"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many texts there are."""
        return sum(len(sample.captions) for sample in samples if len(sample.captions) > 1)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """All texts."""
        return Needs({self.kind: [text for sample in samples for text in sample.captions]}, similarity=self.similarity)

    def __call__(self, encoded: Encoded) -> Result:
        """Correlate length and similarity, image by image."""
        samples = [(number, sample) for number, sample in enumerate(encoded.samples) if len(sample.captions) > 1]
        texts = [text for _, sample in samples for text in sample.captions]
        steps = torch.tensor([len(sample.captions) for _, sample in samples])
        image = encoded.picture[torch.tensor([number for number, _ in samples])]
        row = encoded.rows(texts, self.kind)
        scores = some_pairs(encoded, self.kind, row, image.repeat_interleave(steps), self.similarity)
        value = torch.stack([pearson(some.double()) for some in scores.split(steps.tolist())])
        rising = torch.stack([(some.diff() > 0).all() for some in scores.split(steps.tolist())])
        return Result(
            metrics={"pearson": measure(value, image), "always_rising": measure(rising, image)},
            queries={"images": Queries(rising.long(), image, value=value.float())},
            notes=(f"{len(texts):,} texts on {len(image):,} pictures",),
        )


def pearson(values: Float[Tensor, " K"]) -> Float[Tensor, ""]:
    """Return the correlation of values with 1 to K. 1 for values that rise by equal steps, 0 for equal ones."""
    steps = torch.arange(1, len(values) + 1, dtype=torch.float64)
    steps, values = steps - steps.mean(), values.double() - values.double().mean()
    spread = (steps.square().sum() * values.square().sum()).sqrt()
    return (steps * values).sum() / spread if spread > 1e-12 else torch.zeros((), dtype=torch.float64)
