"""Is one model better than another? Paired tests on the outcomes of every query."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .bootstrap import draws
from .ranking import Ranks, hits
from .report import Report, read_report
from .result import Queries, Ties

REPLICATES = 10_000
_LEVEL = 0.05
_STEP = 250  # replicates at once


@dataclass(frozen=True)
class Difference:
    """One number of two models, and whether chance explains the difference.

    Attributes:
        protocol: Name.
        metric: Such as "text_to_image@1"; in percent.
        first: The first model's number.
        second: The other's.
        low: Lower end of the 95 % interval of the difference, drawn over images.
        high: Upper end.
        p: Two-sided, of the paired bootstrap.
        only_first: Queries that the first model alone has right.
        only_second: Queries that the other alone has right.
        mcnemar: Exact, two-sided, of those two numbers. None where outcomes are not right or wrong, or several queries
            are about one image.
        adjusted: `p` after Holm's correction for all that were compared.
    """

    protocol: str
    metric: str
    first: float
    second: float
    low: float
    high: float
    p: float
    only_first: int
    only_second: int
    mcnemar: float | None
    adjusted: float = 1.0

    @property
    def decided(self) -> bool:
        """True if chance explains it in less than one of twenty cases, all comparisons considered."""
        return self.adjusted < _LEVEL


def compare(first: Path, second: Path) -> list[Difference]:
    """Compare two runs on every protocol that both have.

    Args:
        first: Folder of a report.
        second: Of the other.

    Raises:
        ValueError: If they share no protocol, or data or rules of one differ. The message says which.
    """
    reports = read_report(first), read_report(second)
    names = [name for name in reports[0].results if name in reports[1].results]
    if not names:
        have = " and ".join(", ".join(report.results) or "nothing" for report in reports)
        raise ValueError(f"{first} and {second} share no protocol: they have {have}. Measure both on one.")
    for name in names:
        _check_comparable(name, reports, (first, second))
    differences = [difference for name in names for difference in _of_protocol(name, *reports)]
    return holm(differences)


def as_text(differences: Sequence[Difference], names: tuple[str, str]) -> str:
    """Return a line for each difference.

    Args:
        differences: As `compare` gives them.
        names: Of both models.
    """
    return "\n".join(_line(difference, names) for difference in differences)


def paired_bootstrap(
    first: Float[Tensor, " Q"], second: Float[Tensor, " Q"], image: Int[Tensor, " Q"], replicates: int = REPLICATES
) -> tuple[float, float, float]:
    """Draw images with replacement, the same ones for both models (Efron and Tibshirani 1993, chapter 16).

    Args:
        first: One number per query.
        second: The other model's, of the same queries.
        image: Which image each query is about; queries of one image are drawn together.
        replicates: How many times to draw.

    Returns:
        Both ends of the 95 % interval of the mean difference, and a two-sided p, 1 / replicates at least. 1 if the
        models do not differ.
    """
    difference = (first - second).double()
    _, group = image.unique(return_inverse=True)
    groups = int(group.max()) + 1
    sums = torch.zeros(groups, dtype=torch.float64).index_add_(0, group, difference)
    sizes = torch.zeros(groups, dtype=torch.float64).index_add_(0, group, torch.ones_like(difference))
    drawn = torch.cat([(count @ sums) / (count @ sizes) for count in draws(groups, replicates, 0, _STEP)])
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    below, above = (drawn <= 0).double().mean().item(), (drawn >= 0).double().mean().item()
    return low, high, min(1.0, max(2 * min(below, above), 1 / replicates))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test: how likely so uneven a split of the discordant queries is.

    Args:
        only_first: Queries that one model alone has right.
        only_second: Queries that the other alone has right.

    Returns:
        1 for an even split, and without discordant queries.
    """
    total, least = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(comb(total, number) for number in range(least + 1)) / 2**total)


def holm(differences: Sequence[Difference]) -> list[Difference]:
    """Return differences with p corrected for their number (Holm 1979), in their order."""
    order = sorted(range(len(differences)), key=lambda place: differences[place].p)
    adjusted = [0.0] * len(differences)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(differences) - rank) * differences[place].p))
        adjusted[place] = highest
    return [replace(difference, adjusted=p) for difference, p in zip(differences, adjusted, strict=True)]


def outcomes(queries: Queries, ties: Ties) -> dict[str, Float[Tensor, " Q"]]:
    """Return what is compared of queries, in percent: recall at 1, 5 and 10 of ranks, or the outcome itself."""
    if queries.value is not None:
        return {"": queries.value.double()}
    if queries.tied is None:
        return {"": 100 * (queries.outcome == 1).double()}
    zeros = torch.zeros(len(queries.outcome))
    ranks = Ranks(queries.outcome, queries.tied, torch.ones_like(queries.tied), zeros, zeros)
    return {f"@{k}": 100 * hits(ranks, k, ties) for k in (1, 5, 10)}


def _of_protocol(name: str, first: Report, second: Report) -> list[Difference]:
    differences = []
    ties: Ties = first.protocols[name].ties if name in first.protocols else "against"  # type: ignore[assignment]
    for task, result in first.results[name].items():
        for kind, queries in result.queries.items():
            opponent = second.results[name][task].queries[kind]
            if len(queries.outcome) != len(opponent.outcome):
                raise ValueError(
                    f"{name}: {len(queries.outcome):,} and {len(opponent.outcome):,} queries. Measure both whole."
                )
            rival_outcomes = outcomes(opponent, ties)
            for metric, values in outcomes(queries, ties).items():
                differences.append(_difference(name, kind + metric, values, rival_outcomes[metric], queries.picture))
    return differences


def _difference(
    protocol: str, metric: str, first: Float[Tensor, " Q"], second: Float[Tensor, " Q"], image: Int[Tensor, " Q"]
) -> Difference:
    low, high, p = paired_bootstrap(first, second, image)
    one, two = int((first > second).sum()), int((second > first).sum())
    plain = bool(((first == 0) | (first == 100)).all() and ((second == 0) | (second == 100)).all())
    alone = len(image.unique()) == len(image)
    test = mcnemar(one, two) if plain and alone else None
    return Difference(protocol, metric, first.mean().item(), second.mean().item(), low, high, p, one, two, test)


def _check_comparable(name: str, reports: tuple[Report, Report], folders: tuple[Path, Path]) -> None:
    """Refuse runs on other data or by other rules."""
    provenances = [report.protocols.get(name) for report in reports]
    first, second = provenances
    if first is None and second is None:
        return  # made-up pictures, drawn alike for all
    if first is None or second is None:
        lacking = folders[provenances.index(None)]
        raise ValueError(f"{name}: {lacking} does not say which data it was measured on. Evaluate again.")
    for field_name in ("sha256", "rules", "equal_texts", "ties", "present", "limit"):
        first_value, second_value = getattr(first, field_name), getattr(second, field_name)
        if first_value != second_value:
            raise ValueError(
                f"{name}: {folders[0]} and {folders[1]} differ in {_WORDS[field_name]}: {_short(first_value)} and"
                f" {_short(second_value)}. Measure both in the same way."
            )


_WORDS = {
    "sha256": "data",
    "rules": "the version of the scoring rules",
    "equal_texts": "what equal texts count as",
    "ties": "what ties count as",
    "present": "how many images were there",
    "limit": "how many rows were measured",
}


def _short(value: object) -> object:
    return value[:8] if isinstance(value, str) else value


def _line(difference: Difference, names: tuple[str, str]) -> str:
    verdict = "not decided"
    if difference.decided:
        verdict = f"{names[0] if difference.first > difference.second else names[1]} is better"
    exact = "" if difference.mcnemar is None else f", McNemar {difference.mcnemar:.3g}"
    chance = f"p = {difference.p:.3g} (Holm {difference.adjusted:.3g})"
    return (
        f"{difference.protocol} {difference.metric}: {names[0]} {difference.first:.1f} - {names[1]}"
        f" {difference.second:.1f} = {difference.first - difference.second:+.1f}"
        f" [{difference.low:+.1f}, {difference.high:+.1f}], {chance}"
        f"{exact}, {names[0]} alone {difference.only_first:,}, {names[1]} alone {difference.only_second:,}: {verdict}"
    )
