"""What a task finds: numbers with their intervals, and the outcome of every single query."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from .bootstrap import Statistic, interval, mean


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
        outcome: A rank, or 1 for right and 0 for wrong.
        picture: Which picture the query is about, counted from 0.
    """

    outcome: Int[Tensor, " Q"]
    picture: Int[Tensor, " Q"]


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
    """

    metrics: dict[str, Metric]
    queries: dict[str, Queries]
    unit: str = "cases"
    found: int = 0
    total: int = 0
    notes: tuple[str, ...] = field(default=())


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
