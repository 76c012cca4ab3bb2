"""How far a measured number might be off: bootstrap intervals over queries."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

Statistic = Callable[[Float[Tensor, " Q"], Float[Tensor, "B Q"]], Float[Tensor, " B"]]
"""Takes one value per query and B rows of weights (how often each query was drawn), gives B numbers."""

_CELLS = 500_000  # weights held at once: 4 MB, which a cache holds


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


def weighted_means(label: Int[Tensor, " Q"], share: Float[Tensor, " N"]) -> Statistic:
    """Return a statistic: the mean within each label, then the mean of those with given shares, such as a tree's.

    Args:
        label: Of each query, counted from 0.
        share: Of each label. Labels that were not drawn leave their share to the others.
    """

    def statistic(values: Float[Tensor, " Q"], weights: Float[Tensor, "B Q"]) -> Float[Tensor, " B"]:
        sums = weights.new_zeros(len(weights), len(share))
        drawn = sums.index_add(1, label, weights)
        means = sums.index_add(1, label, weights * values) / drawn
        present = (drawn > 0) * share
        return (means.nan_to_num() * present).sum(dim=1) / present.sum(dim=1)

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
    if statistic is mean:  # groups weigh as a whole, so their sums are all that is drawn
        parts = _drawn_means(values.double(), group, replicates, seed)
    else:
        parts = [statistic(values.double(), weights) for weights in _weights(group, replicates, seed)]
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.cat(parts).quantile(ends).tolist()
    return low, high


def _weights(group: Int[Tensor, " Q"], replicates: int, seed: int) -> Iterator[Float[Tensor, "_b Q"]]:
    """How often each query was drawn, a few replicates at a time."""
    names, group = group.unique(return_inverse=True)
    for count in draws(len(names), replicates, seed, max(1, _CELLS // len(group))):
        yield count[:, group]


def draws(groups: int, replicates: int, seed: int, step: int) -> Iterator[Float[Tensor, "_b G"]]:
    """Yield how often each group was drawn, a few replicates at a time. Equal seeds draw equal groups in any steps.

    Args:
        groups: How many there are.
        replicates: How many times to draw as many.
        seed: Of the draws.
        step: Replicates at once.
    """
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, replicates, step):
        size = min(step, replicates - start)
        drawn = torch.randint(groups, (size, groups), generator=generator)
        count = torch.zeros(size, groups, dtype=torch.float64)
        count.scatter_add_(1, drawn, torch.ones(1, 1, dtype=torch.float64).expand_as(drawn))
        yield count


def _drawn_means(values: Float[Tensor, " Q"], group: Int[Tensor, " Q"], replicates: int, seed: int) -> list[Tensor]:
    """The mean of each replicate."""
    names, group = group.unique(return_inverse=True)
    sums = torch.zeros(len(names), dtype=torch.float64).index_add_(0, group, values)
    sizes = torch.zeros_like(sums).index_add_(0, group, torch.ones_like(values))
    counts = draws(len(names), replicates, seed, max(1, _CELLS // len(group)))
    return [(count @ sums) / (count @ sizes) for count in counts]
