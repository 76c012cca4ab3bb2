"""One page to look a run through: what went in and out and why, what it cost, and samples of everything."""

import heapq
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO, StringIO
from itertools import count
from pathlib import Path
from string import Template
from typing import Any
from zlib import crc32

from ...data.images import open_upright
from ...outside import printable
from ...types import Negative, Region, Sample
from ...writing import replacing
from ..assistant.answers import Spend
from ..stage import WHOLE
from .tally import StageTally, Tally, median

PAGE = Path(__file__).with_name("report.html")
SAMPLES_SHOWN = 24
SAMPLES_PER_REASON = 6
"""Samples shown of each reason to drop them, and of each stage's failures."""
MOST_REASONS = 30
SIDE = 560
COLORS = ("#e5007d", "#0072b2", "#d55e00", "#009e73", "#7a3fb5", "#b8860b", "#007a87", "#a6192e")
INK = "#35506b"


class Gallery:
    """A fair handful of samples of every fate, whatever order they come in: those whose numbers hash lowest."""

    def __init__(self) -> None:
        self._heaps: dict[tuple[str, str], list[tuple[int, int, dict[str, Any], Sample | None]]] = {}
        self._ties = count()

    def offer(self, entry: dict[str, Any], load_sample: Callable[[], Sample]) -> None:
        """Take a sample in, if its lot is low enough.

        Args:
            entry: As the journal has it.
            load_sample: Gives the sample with its picture. Called only if it is taken.
        """
        ended = entry.get("failed") or entry.get("dropped", "")
        fate = (ended, "failed" if "failed" in entry else entry.get("reason", ""))
        if fate not in self._heaps and len(self._heaps) > MOST_REASONS:
            return
        heap = self._heaps.setdefault(fate, [])
        lot = -crc32(str(entry["number"]).encode())
        room = SAMPLES_PER_REASON if ended else SAMPLES_SHOWN
        if len(heap) >= room and lot <= heap[0][0]:
            return
        try:
            sample = load_sample()
        except (OSError, ValueError, KeyError):  # what failed may have no picture to show
            sample = None
        push = heapq.heappush if len(heap) < room else heapq.heappushpop
        push(heap, (lot, next(self._ties), entry, sample))

    def fates(self) -> list[tuple[str, str]]:
        """Return (stage, reason) of those that ended on the way, in order of mention."""
        return [fate for fate in self._heaps if fate[0]]

    def samples(self, stage: str = "", reason: str = "") -> list[tuple[dict[str, Any], Sample | None]]:
        """Return samples of one fate in order of their numbers. Without a stage: those that were written."""
        heap = self._heaps.get((stage, reason), [])
        return sorted(((entry, sample) for _, _, entry, sample in heap), key=lambda pair: pair[0]["number"])


def write_report(
    path: Path,
    tally: Tally,
    gallery: Gallery,
    *,
    title: str,
    settings: Mapping[str, str],
    spend: Spend,
    left_out: Counter[str],
) -> None:
    """Write the page, and the same numbers as JSON beside it.

    Args:
        path: Of the page.
        tally: All counts.
        gallery: Samples to show.
        title: What went where.
        settings: What the run was told, by name.
        spend: What was paid.
        left_out: What the output's format could not hold, by field.
    """
    numbers = {
        "title": title,
        "settings": dict(settings),
        "spend": {name: getattr(spend, name) for name in spend.__dataclass_fields__},
        "left_out": dict(left_out),
        **tally.as_json(),
    }
    page = Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=_escaped(title),
        settings="".join(f"<dt>{_escaped(name)}<dd>{_escaped(value)}" for name, value in settings.items()),
        tiles=_tiles(tally, spend),
        stages="".join(_stage_row(name, stage, tally) for name, stage in tally.stages.items()),
        left_out=_left_out(left_out),
        plots="".join(f"<figure>{plot}</figure>" for plot in plots(tally)),
        samples="".join(_card(entry, sample) for entry, sample in gallery.samples()) or "<p>None came through.</p>",
        ended=_ended(gallery),
    )
    for file, text in ((path, page), (path.with_suffix(".json"), json.dumps(numbers, indent=1, ensure_ascii=False))):
        with replacing(file) as partial:
            partial.write_text(text + "\n", encoding="utf-8")


def _escaped(text: str) -> str:
    """Return a text from outside, escaped for the page."""
    return escape(printable(text, keep="\n"))


def _tiles(tally: Tally, spend: Spend) -> str:
    """Return the numbers one looks for first."""
    last = next(reversed(tally.stages.values()))
    tiles = [
        (f"{tally.samples:,}", "samples read"),
        (f"{tally.written:,}", "written"),
        (f"{tally.dropped:,}", "dropped"),
        (f"{tally.failed:,}", "failed"),
        (f"{last.regions:,}", "regions"),
        (f"{last.negatives:,}", "hard negatives"),
        (f"{median(tally.long_caption_words):,}", "words in a long caption (median)"),
    ]
    if spend.answers:
        tokens = f"answers, {spend.prompt_tokens:,} tokens read, {spend.completion_tokens:,} written"
        tiles.append((f"{spend.answers:,}", tokens))
        tiles.append((f"{spend.cost:,.4f}" if spend.cost else "not told", "price, in the currency of the prices given"))
    return "".join(f"<div><b>{value}</b><span>{words}</span></div>" for value, words in tiles)


def _stage_row(name: str, stage: StageTally, tally: Tally) -> str:
    """Return one stage of the table."""
    share = 100 * stage.passed / max(1, tally.samples)
    reasons = [f"<li>{_escaped(reason)} <b>{n:,}</b>" for reason, n in stage.dropped.most_common(12)]
    reasons += [
        f"<li class=failed>failed: {_escaped(reason)} <b>{n:,}</b>" for reason, n in stage.failed.most_common(12)
    ]
    remarks = [f"<li>{_escaped(reason)} <b>{n:,}</b>" for reason, n in stage.remarks.most_common(20)]
    cells = (stage.came, stage.passed, stage.regions, stage.negatives)
    return (
        f"<tr><th>{_escaped(name)}<div class=bar><i style='width:{share:.1f}%'></i></div>"
        + "".join(f"<td>{cell:,}" for cell in cells)
        + f"<td><ul>{''.join(reasons)}</ul><td><ul>{''.join(remarks)}</ul>"
    )


def _left_out(left_out: Counter[str]) -> str:
    if not left_out.total():
        return ""
    parts = ", ".join(f"{n:,} {_escaped(field)}" for field, n in left_out.most_common() if n)
    return f"<p class=note>The output's format cannot hold everything. Left out: {parts}.</p>"


def plots(tally: Tally) -> list[str]:
    """Return histograms as SVG; those of which there is nothing are not drawn."""
    numbers = (
        ("Words per short caption", tally.caption_words),
        ("Words per long caption", tally.long_caption_words),
        ("Regions per picture", tally.regions),
        ("Hard negatives per phrase", tally.negatives),
    )
    plots = [_histogram(title, counts) for title, counts in numbers if counts and max(counts) > 0]
    if tally.kinds:
        plots.append(_bars("Hard negatives by kind", tally.kinds))
    return plots


def _histogram(title: str, counts: Counter[int], bins: int = 40) -> str:
    """Draw how often each value comes, in at most `bins` columns."""
    low, high = min(counts), max(counts)
    step = max(1, -(-(high - low + 1) // bins))
    columns: Counter[int] = Counter()
    for value, n in counts.items():
        columns[low + (value - low) // step * step] += n
    figure, axes = _figure(f"{title}, median {median(counts):,}", left=0.15)
    axes.bar([start + (step - 1) / 2 for start in columns], list(columns.values()), width=0.9 * step, color=INK)
    axes.set_xlim(low - max(step, 1), high + max(step, 1))
    axes.xaxis.get_major_locator().set_params(integer=True)
    return _svg(figure)


def _bars(title: str, counts: Counter[str]) -> str:
    """Draw how often each word comes, the most frequent on top."""
    figure, axes = _figure(title, left=0.3)
    rows = counts.most_common(12)[::-1]
    axes.barh(range(len(rows)), [n for _, n in rows], color=INK)
    labels = [printable(name[:40]) for name, _ in rows]
    axes.set_yticks(range(len(rows)), labels, parse_math=False)  # a kind may hold a dollar sign
    return _svg(figure)


def _figure(title: str, left: float) -> tuple[Any, Any]:
    """Build an empty plot in the page's manner, without pyplot, which would keep figures for a whole process.

    Args:
        title: Above it.
        left: Share of its width for what stands beside it. Finding that out would take longer than drawing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 2.7))
    axes = figure.add_axes((left, 0.11, 0.97 - left, 0.77))
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    text = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "foveal", "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()[text.getvalue().index("<svg") :]


def _card(entry: Mapping[str, Any], sample: Sample | None) -> str:
    """Return one written sample: its picture with boxes, its texts, its phrases and their hard negatives."""
    if sample is None:
        return f"<article><p class=note>Sample {entry['number']:,} can no longer be read.</p></article>"
    rows = "".join(_region(number, region) for number, region in enumerate(sample.regions))
    captions = "".join(f"<p class=short>{_escaped(caption)}</p>" for caption in sample.captions)
    negatives = _negative_list(sample.caption_negatives + sample.long_caption_negatives)
    negatives = f"<details><summary>Hard negatives of the captions</summary>{negatives}</details>" if negatives else ""
    return (
        f"<article><div>{_picture(sample, sample.regions)}<small>{_escaped(sample.id)}</small></div>"
        f"<div>{captions}<p>{_escaped(sample.long_caption)}</p>{negatives}</div><ol>{rows}</ol></article>"
    )


def _region(number: int, region: Region) -> str:
    color = COLORS[number % len(COLORS)]
    placed = "" if region.box != WHOLE else " <small>(whole picture)</small>"
    return (
        f"<li><b class=chip style='background:{color}'>{number + 1}</b> {_escaped(region.phrase)}{placed}"
        f"{_negative_list(region.negatives)}"
    )


def _negative_list(negatives: Sequence[Negative]) -> str:
    items = "".join(f"<li><i>{_escaped(negative.kind)}</i>{_escaped(negative.text)}" for negative in negatives)
    return f"<ul class=near>{items}</ul>" if items else ""


def _ended(gallery: Gallery) -> str:
    """Return those that did not come through, by stage and reason."""
    sections = []
    for stage, reason in gallery.fates():
        cards = "".join(_ended_one(entry, sample) for entry, sample in gallery.samples(stage, reason))
        sections.append(f"<h3>{_escaped(stage)}: {_escaped(reason)}</h3><div class=ended>{cards}</div>")
    return "".join(sections) or "<p>All came through.</p>"


def _ended_one(entry: Mapping[str, Any], sample: Sample | None) -> str:
    picture = "" if sample is None else _picture(sample, sample.regions)
    words = (
        entry["reason"]
        if "failed" in entry
        else ""
        if sample is None
        else sample.long_caption or " ".join(sample.captions)
    )
    name = f"number {entry['number']:,}" if sample is None else sample.id
    return f"<div>{picture}<small>{_escaped(name)}</small><p>{_escaped(words[:300])}</p></div>"


def _picture(sample: Sample, regions: Sequence[Region]) -> str:
    """Return a picture small enough for a page, with the boxes of its regions."""
    try:
        picture, _ = open_upright(sample.image, SIDE)
    except ValueError:
        return "<div class=broken>the picture cannot be read</div>"
    data = BytesIO()
    picture.save(data, "JPEG", quality=80)
    boxes = []
    for number, region in enumerate(regions):
        if region.box == WHOLE:
            continue
        x0, y0, x1, y1 = (100 * side for side in region.box)
        color = COLORS[number % len(COLORS)]
        style = f"left:{x0:.1f}%;top:{y0:.1f}%;width:{x1 - x0:.1f}%;height:{y1 - y0:.1f}%;border-color:{color}"
        words = _escaped(region.phrase)
        boxes.append(
            f'<div class=box style="{style}" title="{words}"><b style="background:{color}">{number + 1}</b></div>'
        )
    source = f"data:image/jpeg;base64,{b64encode(data.getvalue()).decode()}"
    return f'<div class=picture><img loading=lazy alt="" src="{source}">{"".join(boxes)}</div>'
