"""How far a measured number might be off: bootstrap intervals over queries."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

Statistic = Callable[[Float[Tensor, " Q"], Float[Tensor, "B Q"]], Float[Tensor, " B"]]
"""Takes one value per query and B rows of weights (how often each query was drawn), gives B numbers."""

_CELLS = 4_000_000  # weights held at once: 32 MB


def mean(values: Float[Tensor, " Q"], weights: Float[Tensor, "B Q"]) -> Float[Tensor, " B"]:
    """Weighted mean of all queries. The plain mean if all weights are equal."""
    return weights @ values / weights.sum(dim=1)


def median(values: Float[Tensor, " Q"], weights: Float[Tensor, "B Q"]) -> Float[Tensor, " B"]:
    """Weighted median. With an even number of queries of weight one: midway between the two in the middle."""
    values, order = values.sort()
    share = weights[:, order].cumsum(dim=1)
    half = share[:, -1:] / 2
    last = len(values) - 1
    low = torch.searchsorted(share, half).clamp(max=last)
    high = torch.searchsorted(share, half, right=True).clamp(max=last)
    return ((values[low] + values[high]) / 2)[:, 0]


def mean_of_means(label: Int[Tensor, " Q"]) -> Statistic:
    """A statistic: the mean within each label, then the mean of those, so that rare labels count as much.

    Args:
        label: Of each query, counted from 0. Labels that no query has, or none that was drawn, are left out.
    """

    def statistic(values: Float[Tensor, " Q"], weights: Float[Tensor, "B Q"]) -> Float[Tensor, " B"]:
        sums = weights.new_zeros(len(weights), int(label.max()) + 1)
        drawn = sums.index_add(1, label, weights)
        means = sums.index_add(1, label, weights * values) / drawn
        return means.nanmean(dim=1)

    return statistic


def interval(
    values: Float[Tensor, " Q"],
    group: Int[Tensor, " Q"],
    statistic: Statistic = mean,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """A percentile bootstrap interval (Efron 1979) that draws whole groups with replacement.

    Five captions of one picture, or ten regions in it, are not independent; drawing them together keeps the
    interval honest. With as many groups as queries it is the plain bootstrap.

    Args:
        values: One number per query.
        group: The picture, or whatever else binds queries together, counted from 0.
        statistic: What is measured.
        replicates: How many times to draw.
        level: Share of the replicates inside the interval.
        seed: The same seed draws the same groups, so intervals repeat.

    Returns:
        Both ends. Twice the value itself if all values are equal.
    """
    draws = [statistic(values.double(), weights) for weights in _weights(group, replicates, seed)]
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.cat(draws).quantile(ends).tolist()
    return low, high


def _weights(group: Int[Tensor, " Q"], replicates: int, seed: int) -> Iterator[Float[Tensor, "_b Q"]]:
    """How often each query was drawn, a few replicates at a time."""
    generator = torch.Generator().manual_seed(seed)
    names, group = group.unique(return_inverse=True)
    step = max(1, _CELLS // len(group))
    for start in range(0, replicates, step):
        some = min(step, replicates - start)
        drawn = torch.randint(len(names), (some, len(names)), generator=generator)
        count = torch.zeros(some, len(names), dtype=torch.float64)
        count.scatter_add_(1, drawn, torch.ones(1, 1, dtype=torch.float64).expand_as(drawn))
        yield count[:, group]
