"""Published numbers, and whether a measured one agrees with them."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ..result import Metric, Result

_FILE = Path(__file__).parent / "tables" / "published.json"
_POINTS, _QUERIES = 0.2, 2
HEADLINES = ("text_to_image@1", "image_to_text@1", "top1", "mean", "group", "pearson")
"""The numbers that tables give, the first first."""

Verdict = Literal["equal", "reproduced", "off", "not comparable"]


@dataclass(frozen=True)
class Published:
    """A number that somebody published.

    Attributes:
        protocol: As far as it is known.
        model: As the table calls it.
        resolution: Of the images, in pixels.
        metric: Which number.
        value: In percent; correlations are not.
        source: Where it stands.
        primary: True if whoever made the model measured it.
        measured_by: Who measured it.
        note: What else is known.
    """

    protocol: str
    model: str
    resolution: str
    metric: str
    value: float
    source: str
    primary: bool
    measured_by: str
    note: str

    @property
    def stated(self) -> bool:
        """True if it is certain which protocol it was measured on."""
        return " " not in self.protocol and "@unstated" not in self.protocol

    @property
    def nearest(self) -> str:
        """The name of the protocol it was probably measured on."""
        return self.protocol.partition(" ")[0]

    @property
    def zero_shot(self) -> bool:
        """True unless the model was trained on the data's own training split."""
        return "fine-tuned in domain" not in f"{self.model} {self.note}"


@dataclass(frozen=True)
class Comparison:
    """A measured number beside a published one.

    Attributes:
        published: What was published.
        value: What was measured.
        verdict: "equal" in the digits that were published, "reproduced" within 0.2 points or two queries, "off" beyond
            them.
        queries: How many queries the difference is.
        differences: Where the preparation of images and texts is not that of the published number.
    """

    published: Published
    value: float
    verdict: Verdict
    queries: float
    differences: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what a report keeps."""
        measured = {"measured": self.value, "verdict": self.verdict, "queries_off": self.queries}
        return {**asdict(self.published), **measured, "differences": list(self.differences)}


@cache
def published() -> tuple[Published, ...]:
    """Return all published numbers that are known here."""
    return tuple(Published(**row) for row in json.loads(_FILE.read_text(encoding="utf-8")))


def rows_of(protocol: str) -> tuple[Published, ...]:
    """Return the published numbers of one protocol."""
    return tuple(row for row in published() if row.protocol == protocol)


def compare(
    result: Result, protocol: str, model: str, whole: bool, preparation: Mapping[str, Any] | None = None
) -> list[Comparison]:
    """Return a model's numbers beside those published for the same weights.

    Args:
        result: What was measured.
        protocol: Its name.
        model: The model's name or source; published names are recognized in it, see `same_model`.
        whole: All images were there, nothing was limited.
        preparation: How images and texts were prepared, for the differences where a number is off.
    """
    return [
        _compared(row, metric, whole, preparation or {})
        for row in rows_of(protocol)
        if same_model(model, row.model)
        for metric in [result.metrics.get(_NAMES.get(row.metric, row.metric))]
        if metric is not None
    ]


def neighbors(result: Result, protocol: str, model: str, most: int = 3) -> tuple[str, ...]:
    """Return the published rows of other models that are nearest to what was measured, as "FLAIR 224: 68.0/53.3".

    Numbers stand in the order of the result's metrics. Models trained on the data's own training split are left out.

    Args:
        result: What was measured.
        protocol: Its name.
        model: The model's name or source.
        most: How many rows; a last one counts those left out.
    """
    tables: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows_of(protocol):
        metric = _NAMES.get(row.metric, row.metric)
        if metric in result.metrics and row.zero_shot and not same_model(model, row.model):
            tables.setdefault((row.model, row.resolution, row.source), {})[metric] = row.value
    headline = next((name for name in HEADLINES if any(name in numbers for numbers in tables.values())), "")

    def distance(numbers: Mapping[str, float]) -> float:
        return abs(numbers[headline] - result.metrics[headline].value) if headline in numbers else math.inf

    nearest = sorted(tables, key=lambda key: (distance(tables[key]), key))
    lines = [
        f"{name} {size}: "
        + "/".join(
            f"{tables[name, size, source][key]:.1f}" for key in result.metrics if key in tables[name, size, source]
        )
        for name, size, source in nearest[:most]
    ]
    return (*lines, *([f"{len(nearest) - most} more: --explain"] if len(nearest) > most else []))


def same_model(name: str, published_name: str) -> bool:
    """True if a model's name names the published one: its family and its size, whatever stands between them.

    "openai/clip-vit-base-patch16" is "CLIP B/16", "BeichenZhang/LongCLIP-B" is "Long-CLIP B/16".
    """
    family, size = _family(published_name), _size(published_name)
    patches = {patch for patch in map(_patch, (name, published_name)) if patch}
    return bool(family) and family == _family(name) and size == _size(name) and len(patches) < 2


def verdict(value: float, metric: Metric) -> tuple[Verdict, float]:
    """Return whether a measured number reproduces a published one, and how many queries they differ by.

    Args:
        value: What was published.
        metric: What was measured.
    """
    off = abs(metric.value - value)
    queries = off / 100 * metric.count
    if round(metric.value, 1) == round(value, 1):
        return "equal", queries
    return ("reproduced" if off <= _POINTS + 1e-9 or queries <= _QUERIES + 1e-9 else "off"), queries


def differences(row: Published, preparation: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where images or texts were prepared otherwise than for a published number, as far as both are known.

    Args:
        row: The published number.
        preparation: As a report states it: `size`, `resize`, `lower_case`, `text_length`.
    """
    expected = dict(_PREPARED.get(_family(row.model).rstrip("*"), {}))
    if row.resolution.isdigit():
        expected["size"] = int(row.resolution)
    lengths = preparation.get("text_length", {})
    actual = {**preparation, "long_text": lengths.get("long_caption"), "short_text": lengths.get("caption")}
    return tuple(
        f"{_WORDS[setting]}: {actual[setting]} here, {value} there"
        for setting, value in expected.items()
        if actual.get(setting) is not None and actual[setting] != value
    )


def _compared(row: Published, metric: Metric, whole: bool, preparation: Mapping[str, Any]) -> Comparison:
    if not whole:
        return Comparison(row, metric.value, "not comparable", 0.0)
    decided, queries = verdict(row.value, metric)
    why = differences(row, preparation) if decided == "off" else ()
    return Comparison(row, metric.value, decided, round(queries, 1), why)


_CLIP: Mapping[str, Any] = {"resize": "crop", "resample": "bicubic", "lower_case": False}
_PREPARED: Mapping[str, Mapping[str, Any]] = {
    "clip": _CLIP,
    "longclip": {**_CLIP, "long_text": 248},
    "finelip": {**_CLIP, "long_text": 248},
    "himoclip": {**_CLIP, "long_text": 248},
    "tulip": {**_CLIP, "long_text": 248},
    "debiasclip": {**_CLIP, "long_text": 248},
    "goal": {**_CLIP, "long_text": 248},
    "fgclip": {"resize": "squash", "short_text": 77, "long_text": 248, "lower_case": False},
    "fgclip2": {"resize": "naflex", "short_text": 64, "long_text": 196, "lower_case": True},
    "siglip2": {"short_text": 64, "lower_case": True},
}
"""What published numbers of a family were measured with, as the authors' scripts have it."""

_WORDS = {
    "size": "side of images in pixels",
    "resize": "images are",
    "resample": "filter",
    "lower_case": "texts lower-cased",
    "long_text": "tokens of long texts",
    "short_text": "tokens of short texts",
}


_NAMES: Mapping[str, str] = {"accuracy": "mean"}
"""What tables call a number that results call otherwise."""

_FAMILIES = (
    ("fgclip2", "fgclip2"),
    ("fgclip", "fgclip"),
    ("longclip", "longclip"),
    ("finelip", "finelip"),
    ("siglip2", "siglip2"),
    ("siglip", "siglip"),
    ("himoclip", "himoclip"),
    ("hyflclip", "hyflclip"),
    ("debiasclip", "debiasclip"),
    ("smartclip", "smartclip"),
    ("metaclip2", "metaclip2"),
    ("metaclip", "metaclip"),
    ("fastgoal", "fastgoal"),
    ("goal", "goal"),
    ("tulip", "tulip"),
    ("flair", "flair"),
    ("lotlip", "lotlip"),
    ("pecore", "pecore"),
    ("tips", "tips"),
    ("evaclip", "evaclip"),
    ("openaiclip", "clip"),
    ("vitb", "clip"),
    ("vitl", "clip"),
    ("clip", "clip"),
)
_SIZES = (("so400m", "so"), ("so", "so"), ("giant", "g"), ("huge", "h"), ("large", "l"), ("base", "b"))


def _family(name: str) -> str:
    plain = re.sub(r"[^a-z0-9*+]", "", name.lower())
    family = next((family for spelling, family in _FAMILIES if spelling in plain), "")
    return family + "*" * (("*" in name) and family != "")


def _size(name: str) -> str:
    """The letter of the size, and 336 where the name says it."""
    short = (
        name.lower().rpartition("/")[2]
        if name.count("/") == 1 and not re.search(r"[a-z]/\d", name.lower())
        else name.lower()
    )
    wide = "-336" if "336" in short else ""
    for spelling, letter in _SIZES:
        if re.search(rf"(?<![a-z]){spelling}(?![a-z])", short):
            return letter + wide
    match = re.search(r"(?<![a-z])(?:vit[-_]?)?(b|l|h|g)(?![a-z])", short)
    return (match[1] if match else "") + wide


def _patch(name: str) -> str:
    """Side of a patch in pixels, where the name says it."""
    match = re.search(r"(?:patch|/|-)(\d\d)(?!\d)", name.lower())
    return match[1] if match else ""
