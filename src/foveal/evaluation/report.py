"""What was measured, on disk and on screen."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..outside import printable
from ..version import __version__
from ..writing import replacing
from .result import Metric, Queries, Result

JSON, QUERIES = "report.json", "queries.npz"
SCHEMA = 2


@dataclass(frozen=True)
class Provenance:
    """On which data, and by which rules, a protocol was measured.

    Attributes:
        sha256: Of the canonical form of the data.
        verdict: "ok" where that is the pinned one, "counts only" where none is pinned, "unchecked" where no count is
            known either, "differs", or "own".
        images: How many images the protocol has.
        present: How many of them were there.
        rows: Texts, cases or boxes.
        layout: Which of its layouts was read.
        rules: Version of the scoring rules.
        equal_texts: With which images a text is right.
        ties: What ties counted as.
        limit: How many rows were measured, where that was limited.
        comparable: Published numbers of the same weights, and whether they were reproduced.
        neighbors: Published numbers of other models, the nearest first.
        contamination: What is known of the model's training data, see `pinned.contamination`.
    """

    sha256: str
    verdict: str
    images: int
    present: int
    rows: int
    layout: str
    rules: int = 1
    equal_texts: str = "own"
    ties: str = "half"
    limit: int | None = None
    comparable: tuple[dict[str, Any], ...] = ()
    neighbors: tuple[str, ...] = ()
    contamination: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """True if all of the protocol was measured, on its own data."""
        return self.verdict not in ("differs", "unchecked") and self.present == self.images and self.limit is None


@dataclass(frozen=True)
class Report:
    """All that was measured of one model.

    Attributes:
        model: Its name.
        similarity: How whole pictures and texts were compared.
        results: By benchmark and task.
        seconds: What each benchmark took, encoding included.
        scaled_decoding: Large JPEGs were decoded at a part of their size.
        protocols: On which data the pinned ones among the benchmarks were measured.
        about: What else is known: of the model, how it takes images and texts, and where it ran.
    """

    model: str
    similarity: str
    results: dict[str, dict[str, Result]]
    seconds: dict[str, float]
    scaled_decoding: bool = False
    protocols: dict[str, Provenance] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write numbers (`report.json`) and the outcome of every query (`queries.npz`), each whole or not at all.

        Args:
            folder: Made if absent. Files of an earlier report are replaced.
        """
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{benchmark}/{task}/{name}/{column}": _compact(values)
            for benchmark, task, result in self.rows()
            for name, queries in result.queries.items()
            for column, values in queries.columns().items()
        }
        # The numbers come last: where they are, the outcomes are too.
        with replacing(folder / QUERIES, durable=True) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
        with replacing(folder / JSON, durable=True) as partial:
            partial.write_text(json.dumps(self._as_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def rows(self) -> Iterator[tuple[str, str, Result]]:
        """Every benchmark, task and result."""
        for benchmark, tasks in self.results.items():
            for task, result in tasks.items():
                yield benchmark, task, result

    def _as_json(self) -> dict[str, object]:
        results: dict[str, dict[str, object]] = {}
        for benchmark, task, result in self.rows():
            metrics = {name: asdict(metric) for name, metric in result.metrics.items()}
            about = {key: getattr(result, key) for key in ("unit", "found", "total", "notes", "tied")}
            results.setdefault(benchmark, {})[task] = about | {"metrics": metrics}
        return {
            "schema": SCHEMA,
            "foveal": __version__,
            "model": self.model,
            "about": self.about,
            "similarity": self.similarity,
            "scaled_decoding": self.scaled_decoding,
            "seconds": self.seconds,
            "protocols": {name: asdict(provenance) for name, provenance in self.protocols.items()},
            "results": results,
        }


def read_report(folder: Path) -> Report:
    """A report as it was written, of this schema or of the first, which has neither protocols nor scores.

    Raises:
        ValueError: If the folder holds none, or it is damaged.
    """
    try:
        content = json.loads((folder / JSON).read_text(encoding="utf-8"))
        with np.load(folder / QUERIES, allow_pickle=False) as arrays:
            queries: dict[tuple[str, str], dict[str, Queries]] = {}
            for key in arrays.files:
                benchmark, task, name, column = key.split("/")
                if column == "outcome":
                    queries.setdefault((benchmark, task), {})[name] = _queries(arrays, f"{benchmark}/{task}/{name}/")
        results = {
            benchmark: {task: _result(row, queries[benchmark, task]) for task, row in tasks.items()}
            for benchmark, tasks in content["results"].items()
        }
        scaled = content.get("scaled_decoding", True)  # reports that don't say were measured so
        protocols = {
            name: Provenance(
                **{**row, "comparable": tuple(row["comparable"]), "neighbors": tuple(row.get("neighbors", ()))}
            )
            for name, row in content.get("protocols", {}).items()
        }
        about = content.get("about", {})
        return Report(content["model"], content["similarity"], results, content["seconds"], scaled, protocols, about)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} holds no whole report: {error}. Evaluate again.") from error


def table(reports: Sequence[Report]) -> str:
    """Reports side by side, as plain text: a line per number, a column per model, and what was not measured.

    Args:
        reports: Of one model each. A number that a model lacks is left blank.

    Returns:
        "value [low, high]" with the ends of the 95 % interval; shares in percent.
    """
    lines = [["benchmark", "task", "metric", *(report.model or "value" for report in reports)]]
    keys = {
        (benchmark, task, metric): None
        for report in reports
        for benchmark, task, result in report.rows()
        for metric in result.metrics
    }
    for benchmark, task, metric in _together(keys):
        found = [report.results.get(benchmark, {}).get(task) for report in reports]
        lines.append([benchmark, task, metric, *(cell(result, metric) for result in found)])
    lines = [[printable(cell) for cell in line] for line in lines]
    return "\n".join([*_aligned(lines), "", *map(printable, _remarks(reports))])


def _together(keys: dict[tuple[str, str, str], None]) -> list[tuple[str, str, str]]:
    """In order of first mention, every benchmark and every task in one place."""
    first: dict[tuple[str, ...], int] = {}
    for place, (benchmark, task, _) in enumerate(keys):
        first.setdefault((benchmark,), place)
        first.setdefault((benchmark, task), place)
    return sorted(keys, key=lambda key: (first[key[:1]], first[key[:2]]))


def cell(result: Result | None, name: str) -> str:
    """A number and the ends of its interval: "70.8 [69.3, 72.4]". Empty where it was not measured."""
    metric = None if result is None else result.metrics.get(name)
    return "" if metric is None else f"{metric.value:.1f} [{metric.low:.1f}, {metric.high:.1f}]"


def _aligned(lines: list[list[str]]) -> list[str]:
    """Names to the left, numbers to the right, and a name only where it changes."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = []
    above: list[str] = []
    for line in lines:
        same = [above[:1] == line[:1], above[:2] == line[:2]]
        names = ["" if hide else name for name, hide in zip(line[:2], same, strict=True)] + line[2:3]
        cells = [name.ljust(width) for name, width in zip(names, widths, strict=False)]
        cells += [cell.rjust(width) for cell, width in zip(line[3:], widths[3:], strict=True)]
        shown.append("  ".join(cells).rstrip())
        above = line
    return shown


def _remarks(reports: Sequence[Report]) -> list[str]:
    """What share was measured, and the notes; each line once, however many models it holds for."""
    remarks: dict[str, None] = {}
    for report in reports:
        for name, provenance in report.protocols.items():
            remarks[_data_line(name, provenance)] = None
            for line in _verdicts(name, provenance):
                remarks[line] = None
        for benchmark, task, result in report.rows():
            have = "has its picture" if result.found == 1 else "have their picture"
            share = f"{result.found:,} of {result.total:,} {result.unit} {have}"
            remarks[f"{benchmark} {task}: {'; '.join((share, *result.notes))}."] = None
    for similarity in dict.fromkeys(report.similarity for report in reports):
        remarks[f"Whole pictures and texts are compared by {similarity} similarity."] = None
    if any(report.scaled_decoding for report in reports):
        remarks["Large JPEGs were decoded at a part of their size, so numbers may differ from published ones."] = None
    return [*remarks, "Brackets: 95 % bootstrap intervals over pictures. Shares are in percent."]


def _data_line(name: str, of: Provenance) -> str:
    """What was measured: "urban1k@1000: data 47421d24 ok, 1,000 of 1,000 pictures, rules 1"."""
    data = {
        "counts only": "not pinned yet",
        "unchecked": "not pinned yet, of unknown size",
        "differs": "DIFFERS from the pinned data",
        "own": f"of {of.layout}",
    }
    state = data.get(of.verdict, of.verdict)
    line = f"{name}: data {of.sha256[:8]} {state}, {of.present:,} of {of.images:,} pictures, rules {of.rules}"
    if of.limit is not None:
        line += f", the first {of.limit:,} rows alone"
    return line + ("." if of.whole else ": not comparable with published numbers.")


def _verdicts(name: str, of: Provenance) -> Iterator[str]:
    """Published numbers of the same weights, and what is known of training data."""
    known = of.contamination
    if known.get("checked"):
        shares = (f"{known['found'][what]:,} of {known['compared'][what]:,} {what}" for what in ("images", "texts"))
        yield f"{name}: {' and '.join(shares)} stand in the training data {known['training']}."
    elif known.get("flags"):
        yield f"{name}: contamination: {'; '.join(known['flags'])}."
    for row in of.comparable:
        said = f"{row['value']:.1f} by {row['measured_by']} at {row['resolution']} ({row['source']}): {row['verdict']}"
        why = f" Prepared otherwise: {'; '.join(row['differences'])}." if row.get("differences") else ""
        off = f"off by {row['queries_off']:g} queries"
        yield f"{name} {row['metric']}: published for {row['model']} {said}, {off}.{why}"
    if of.neighbors:
        yield f"{name}: same protocol, other models: {'; '.join(of.neighbors)}."


def _result(row: dict[str, object], queries: dict[str, Queries]) -> Result:
    content = dict(row)
    metrics = content.pop("metrics")
    notes = content.pop("notes")
    assert isinstance(metrics, dict) and isinstance(notes, list)
    return Result(
        metrics={name: Metric(**metric) for name, metric in metrics.items()},
        queries=queries,
        notes=tuple(notes),
        **content,  # type: ignore[arg-type]
    )


def _queries(arrays: Mapping[str, Any], prefix: str) -> Queries:
    columns = {key.removeprefix(prefix): torch.from_numpy(arrays[key]) for key in arrays if key.startswith(prefix)}
    return Queries(
        **{name: column if column.is_floating_point() else column.long() for name, column in columns.items()}
    )


def _compact(values: torch.Tensor) -> Any:
    """Ranks and places in 32 bits."""
    array = values.numpy()
    return array if values.is_floating_point() else array.astype(np.int32)
