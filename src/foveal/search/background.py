"""The baseline that a score has to stand out from: similarities of unrelated images and queries."""

from dataclasses import dataclass
from math import erfc, sqrt

from jaxtyping import Float
from torch import Tensor

SAMPLE = 256
"""Images of the index that measure a query's baseline: those whose ids come first."""
PRIOR = 24
"""Images that the index's own baseline counts for beside a query's, so that small indices have one too."""

TEXTS = (
    "a dog running on grass",
    "a red car in the street",
    "a plate of food on a table",
    "a woman with a long coat",
    "a snowy mountain",
    "a child on a swing",
    "a laptop on a desk",
    "a boat on a lake",
    "an old stone church",
    "a bird on a branch",
    "a bowl of fruit",
    "a man on a bicycle",
    "a crowded beach in summer",
    "a black cat asleep",
    "a train at a station",
    "a vase of yellow flowers",
    "a kitchen with a large window",
    "a football match",
    "a page of printed text",
    "an empty parking lot at night",
    "a herd of cows",
    "a bride and groom",
    "a city seen from above",
    "a hand holding a phone",
)


@dataclass(frozen=True)
class Baseline:
    """Mean and spread of the similarities of unrelated images and queries.

    Attributes:
        mean: Of the similarities.
        spread: Their standard deviation.
    """

    mean: float
    spread: float

    @classmethod
    def of(cls, similarities: Float[Tensor, "*pairs"], prior: "Baseline | None" = None) -> "Baseline":
        """Estimate a baseline by median and median deviation, as some of the images may be related after all.

        Args:
            similarities: Of a query and images.
            prior: The baseline of any query. Counts as `PRIOR` images more.
        """
        values = similarities.flatten().float()
        if not len(values):
            return prior or cls(0.0, 1.0)
        mean = values.median()
        spread = 1.4826 * (values - mean).abs().median()
        if prior is None:
            return cls(mean.item(), max(spread.item(), 1e-4))
        share = len(values) / (len(values) + PRIOR)
        variance = share * spread.item() ** 2 + (1 - share) * prior.spread**2
        return cls(share * mean.item() + (1 - share) * prior.mean, max(sqrt(variance), 1e-4))

    def z_scores(self, similarities: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
        """Return the z-scores of similarities: standard deviations above the mean."""
        return (similarities - self.mean) / self.spread


def confidences(scores: list[float], count: int) -> list[float]:
    """Return, for each of the best hits, the share of hits at least as good that are expected to be no accident.

    One minus the false discovery rate of Benjamini and Hochberg (1995): of `count` unrelated pictures, so many are
    expected to score as high by accident; so many did.

    Args:
        scores: Z-scores above unrelated images, best first.
        count: Pictures that were searched.

    Returns:
        In [0, 1], falling. Near 0 for the best of an index in which nothing fits.
    """
    accidents = [count * erfc(score / sqrt(2)) / 2 for score in scores]
    shares = [max(0.0, 1 - expected / rank) for rank, expected in enumerate(accidents, start=1)]
    for place in reversed(range(len(shares) - 1)):
        shares[place] = max(shares[place], shares[place + 1])
    return shares
