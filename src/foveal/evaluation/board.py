"""A leaderboard of any number of runs, with the published numbers beside them."""

import csv
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from .pinned.published import HEADLINES, rows_of
from .report import Report, read_report
from .result import Metric

HEAD = ("model", "pixels", "similarity", "value", "n", "letter", "source")


@dataclass(frozen=True)
class Row:
    """A model's number on a protocol.

    Attributes:
        protocol: Name.
        metric: Such as "text_to_image@1".
        model: Name.
        resolution: Of the images, in pixels; as a table states it.
        similarity: How it compared. Empty for published numbers.
        value: Shares in percent.
        low: Lower end of the 95 % interval. None for published numbers.
        high: Upper end.
        count: How many queries. 0 for published numbers.
        source: The run's folder, or where the number was published.
        letter: "a" where the interval overlaps that of the best run.
    """

    protocol: str
    metric: str
    model: str
    resolution: str
    similarity: str
    value: float
    low: float | None
    high: float | None
    count: int
    source: str
    letter: str = ""

    @property
    def measured(self) -> bool:
        """True if a run stands behind it, not a table."""
        return self.count > 0

    def cells(self) -> tuple[str, ...]:
        """Return what stands in a table."""
        interval = f" [{self.low:.1f}, {self.high:.1f}]" if self.low is not None and self.high is not None else ""
        value = f"{self.value:.1f}{interval}"
        count = f"{self.count:,}" if self.count else ""
        return self.model, self.resolution, self.similarity, value, count, self.letter, self.source


def board(folders: Sequence[Path]) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of every protocol and number, best first: of whole runs on pinned data, and published ones.

    Args:
        folders: Of reports, or folders that hold such.

    Raises:
        ValueError: If no folder holds a report, or none is of a whole run.
    """
    reports = [(folder, read_report(folder)) for folder in _reports(folders)]
    tables: dict[tuple[str, str], list[Row]] = {}
    for folder, report in reports:
        for row in _rows(folder, report):
            tables.setdefault((row.protocol, row.metric), []).append(row)
    if not tables:
        where = ", ".join(map(str, folders))
        raise ValueError(
            f"{where} holds {len(reports)} reports and no whole run of a protocol. Measure one with all its images."
        )
    for (protocol, metric), rows in tables.items():
        rows += [
            Row(
                protocol,
                metric,
                each.model,
                each.resolution,
                "",
                each.value,
                None,
                None,
                0,
                _source(each.source, each.note),
            )
            for each in rows_of(protocol)
            if each.metric == metric
        ]
    return {key: _lettered(rows) for key, rows in sorted(tables.items())}


def markdown(tables: dict[tuple[str, str], list[Row]]) -> str:
    """Return tables in Markdown; published rows are in italics. The order is stable, so a diff shows what changed."""
    parts = []
    for (protocol, metric), rows in tables.items():
        lines = [f"## {protocol} {metric}", "", _bar(HEAD), _bar("---" for _ in HEAD)]
        lines += [
            _bar(row.cells() if row.measured else (f"*{cell}*" if cell else "" for cell in row.cells())) for row in rows
        ]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, _summary(tables)]) + "\n"


def means(tables: dict[tuple[str, str], list[Row]]) -> str:
    """Return the mean of every model over the protocols that all models have, a column for each number, in Markdown.

    Runs of one model, compared in one way, count as one.

    Args:
        tables: As `board` gives them.

    Raises:
        ValueError: If no protocol was measured with every model.
    """
    models: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for key, rows in tables.items():
        for row in rows:
            if row.measured:
                models.setdefault((row.model, row.similarity), {}).setdefault(key, row.value)
    common = sorted(key for key in tables if all(key in values for values in models.values()))
    if not common:
        raise ValueError("No protocol was measured with every model, so there is no mean. Leave out --mean.")
    columns: dict[str, list[tuple[str, str]]] = {}
    for protocol, metric in common:
        columns.setdefault(metric, []).append((protocol, metric))
    head = ("model", "similarity", *columns)
    lines = ["## Mean", ""]
    lines += [f"{metric}: over {', '.join(protocol for protocol, _ in keys)}." for metric, keys in columns.items()]
    lines += ["", _bar(head), _bar("---" for _ in head)]
    for (model, similarity), values in sorted(models.items()):
        numbers = (f"{sum(values[key] for key in keys) / len(keys):.1f}" for keys in columns.values())
        lines.append(_bar((model, similarity, *numbers)))
    return "\n".join(lines) + "\n"


def as_csv(tables: dict[tuple[str, str], list[Row]]) -> str:
    """Return one table with a column for the protocol and the metric."""
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("protocol", "metric", *HEAD[:3], "value", "low", "high", *HEAD[4:]))
    for rows in tables.values():
        for row in rows:
            ends = ("" if end is None else f"{end:.4f}" for end in (row.low, row.high))
            run = row.protocol, row.metric, row.model, row.resolution, row.similarity
            writer.writerow((*run, f"{row.value:.4f}", *ends, row.count, row.letter, row.source))
    return file.getvalue()


def as_html(tables: dict[tuple[str, str], list[Row]]) -> str:
    """Return a page; published rows are gray."""
    parts = [_PAGE]
    for (protocol, metric), rows in tables.items():
        parts.append(f"<h2>{html.escape(protocol)} {html.escape(metric)}</h2><table>{_row('th', HEAD)}")
        parts += [_row("td", row.cells(), "" if row.measured else " class=published") for row in rows]
        parts.append("</table>")
    return "\n".join([*parts, "</body></html>"]) + "\n"


_PAGE = (
    "<!doctype html><html lang=en><head><meta charset=utf-8><title>foveal board</title><style>"
    "body{font:15px/1.5 sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left}"
    "tr:nth-child(even){background:#f4f4f4}.published{color:#777}</style></head><body>"
)


def _rows(folder: Path, report: Report) -> Iterable[Row]:
    """Numbers of whole runs; parts of a protocol and other data are left out."""
    for name, tasks in report.results.items():
        if name not in report.protocols or not report.protocols[name].whole:
            continue
        size = str(report.about.get("preparation", {}).get("size", ""))
        for result in tasks.values():
            for metric in _headline(result.metrics):
                estimate = result.metrics[metric]
                numbers = estimate.value, estimate.low, estimate.high, estimate.count
                yield Row(name, metric, report.model, size, report.similarity, *numbers, str(folder))


def _headline(metrics: dict[str, Metric]) -> list[str]:
    """The numbers that tables give: recall at 1 both ways, or the first, or the mean."""
    named = [name for name in HEADLINES if name in metrics and name != "mean"]
    return named or [name for name in ("mean",) if name in metrics] or list(metrics)[:1]


def _lettered(rows: list[Row]) -> list[Row]:
    """Best first; runs whose interval overlaps the best run's share a letter."""
    ranked = sorted(rows, key=lambda row: (-row.value, row.model, row.source))
    best = next(row for row in ranked if row.measured)
    return [
        Row(**{**vars(row), "letter": "a"})
        if row.high is not None and best.low is not None and row.high >= best.low
        else row
        for row in ranked
    ]


def _summary(tables: dict[tuple[str, str], list[Row]]) -> str:
    """Models and protocols in one table: whole runs on pinned data alone."""
    names = list(tables)
    models: dict[str, dict[tuple[str, str], str]] = {}
    for key, rows in tables.items():
        for row in rows:
            if row.measured:
                models.setdefault(row.model, {})[key] = f"{row.value:.1f}"
    head = ("model", *(f"{protocol} {metric}" for protocol, metric in names))
    lines = [_bar((model, *(values.get(key, "") for key in names))) for model, values in sorted(models.items())]
    return "\n".join(["## All", "", _bar(head), _bar("---" for _ in head), *lines])


def _reports(folders: Sequence[Path]) -> list[Path]:
    paths = [path.parent for folder in folders for path in sorted(folder.glob("**/report.json"))]
    if not paths:
        raise ValueError(f"{', '.join(map(str, folders))} holds no report. Write one with `foveal eval --out`.")
    return list(dict.fromkeys(paths))


def _source(source: str, note: str) -> str:
    return f"{source} ({note})" if note else source


def _bar(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _row(tag: str, cells: Iterable[str], attributes: str = "") -> str:
    return f"<tr{attributes}>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
