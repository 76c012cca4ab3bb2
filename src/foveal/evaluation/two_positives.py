"""Two right captions and a wrong one: SugarCrepe++'s way, with the image and without it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..types import Kind, Sample
from .choice import pair_metrics
from .encoded import Encoded, Needs
from .result import Queries, Result
from .scoring import rowwise, some_pairs


@dataclass(frozen=True)
class TwoPositives:
    """Both right captions must score above the wrong one (arXiv:2406.11171); a tie is wrong. Chance is 33.3 %.

    A sample's first two captions are right, its one hard negative is wrong.

    Attributes:
        texts_only: No image is looked at: the right captions must be nearer to each other than either to the wrong one.
        kind: How captions are encoded.
        similarity: How an image and a caption are compared: one of the encoder's scores.
    """

    texts_only: bool = False
    kind: Kind = "caption"
    similarity: str = "global"

    @property
    def name(self) -> str:
        """Of the task."""
        return "two_positives_of_texts" if self.texts_only else "two_positives"

    @property
    def unit(self) -> str:
        """Of three captions."""
        return "cases"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many cases there are."""
        return sum(len(sample.captions) > 1 and bool(sample.caption_negatives) for sample in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """All three captions."""
        texts = [text for sample in samples for text in (*sample.captions[:2], sample.caption_negatives[0].text)]
        return Needs({self.kind: texts}, similarity=self.similarity)

    def __call__(self, encoded: Encoded) -> Result:
        """Compare the three captions with the image, or with each other."""
        samples, picture = encoded.samples, encoded.picture
        first, second = (encoded.rows((sample.captions[place] for sample in samples), self.kind) for place in (0, 1))
        wrong = encoded.rows((sample.caption_negatives[0].text for sample in samples), self.kind)
        if self.texts_only:
            embedding = encoded.texts[self.kind].embedding
            of_positives = rowwise(embedding, embedding, first, second)
            scores = (
                of_positives,
                of_positives,
                rowwise(embedding, embedding, first, wrong),
                rowwise(embedding, embedding, second, wrong),
            )
            first_wins, second_wins = scores[0] > scores[2], scores[1] > scores[3]
            picture = torch.arange(len(samples))  # no image binds the cases together
        else:
            score = partial(self._score, encoded, picture)
            negative = score(wrong)
            first_wins, second_wins = score(first) > negative, score(second) > negative
        right = first_wins & second_wins
        kinds = [sample.caption_negatives[0].kind for sample in samples]
        metrics = pair_metrics(right, picture, kinds)
        alone = {"first_alone": first_wins, "second_alone": second_wins}
        for name, right in () if self.texts_only else alone.items():
            metrics[name] = pair_metrics(right, picture, kinds)["mean"]
        return Result(
            metrics=metrics,
            queries={"cases": Queries(right.long(), picture)},
            notes=("chance 33.3; a tie is wrong",),
        )

    def _score(self, encoded: Encoded, picture: Int[Tensor, " Q"], row: Int[Tensor, " Q"]) -> Float[Tensor, " Q"]:
        return some_pairs(encoded, self.kind, row, picture, self.similarity)
