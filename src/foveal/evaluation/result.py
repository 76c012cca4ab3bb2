"""What a task finds: numbers with their intervals, and the outcome of every single query."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from .bootstrap import Statistic, interval, mean

EqualTexts = Literal["own", "any"]
"""Whether a text is right with its own image alone (what published code does), or with each image of an equal text."""

Ties = Literal["half", "against", "right"]
"""What a wrong answer that scores exactly as the right one does: stands before it or after it, or in a random order,
whose expected value is taken."""


@dataclass(frozen=True)
class Metric:
    """A measured number.

    Attributes:
        value: Shares are in percent, ranks count from 1.
        low: Lower end of the 95 % interval.
        high: Upper end.
        count: How many queries stand behind it.
    """

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Queries:
    """The outcome of every query, so that any other number can be worked out later.

    Attributes:
        outcome: A rank, or 1 for right and 0 for wrong. Ties are not in it where `tied` counts them.
        picture: Which picture the query is about, counted from 0.
        tied: How many wrong answers score exactly as the best right one.
        score: Of the best right answer.
        rival: Of the best wrong one.
        value: A number that is neither rank nor truth, such as an average precision.
    """

    outcome: Int[Tensor, " Q"]
    picture: Int[Tensor, " Q"]
    tied: Int[Tensor, " Q"] | None = None
    score: Float[Tensor, " Q"] | None = None
    rival: Float[Tensor, " Q"] | None = None
    value: Float[Tensor, " Q"] | None = None

    def columns(self) -> dict[str, Tensor]:
        """Return what there is, by name."""
        columns = {name: getattr(self, name) for name in ("outcome", "picture", "tied", "score", "rival", "value")}
        return {name: column for name, column in columns.items() if column is not None}


@dataclass(frozen=True)
class Result:
    """What one task found on one benchmark.

    Attributes:
        metrics: By name.
        queries: By name.
        unit: What the task counts, in the plural.
        found: How many of them have their picture here. Only those were measured.
        total: How many the benchmark has.
        notes: What a reader must know to judge the numbers.
        tied: How many queries had a tie with a right answer. None: nobody counted.
    """

    metrics: dict[str, Metric]
    queries: dict[str, Queries]
    unit: str = "cases"
    found: int = 0
    total: int = 0
    notes: tuple[str, ...] = field(default=())
    tied: int | None = None


def measure(values: Shaped[Tensor, " Q"], picture: Int[Tensor, " Q"], statistic: Statistic = mean) -> Metric:
    """A statistic of one value per query, with its bootstrap interval over pictures.

    Args:
        values: Numbers; or truth values, whose shares are given in percent.
        picture: Which picture each query is about.
        statistic: What is measured.
    """
    numbers = values.double() * (100 if values.dtype == torch.bool else 1)
    once = torch.ones(1, len(numbers), dtype=torch.float64)
    low, high = interval(numbers, picture, statistic)
    return Metric(statistic(numbers, once).item(), low, high, len(numbers))
