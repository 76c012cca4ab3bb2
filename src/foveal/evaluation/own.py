"""A file of one's own as a protocol: what is measured follows from what its rows hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.formats.source import open_source, parts_of
from ..types import Sample
from .benchmark import Benchmark, Task
from .choice import CaptionChoice, RegionChoice
from .pinned.canonical import Box, Captions, Case, Row, canonical, digest
from .pinned.registry import ALIASES, GROUPS, registry
from .regions import RegionClassification
from .registry import BENCHMARKS
from .retrieval import Retrieval

_SIDE = 10_000  # boxes are hashed in so many parts of a side


@dataclass(frozen=True)
class Own:
    """Data of one's own.

    Attributes:
        name: `own@` and the beginning of the hash of what is measured.
        sha256: The whole hash.
        benchmark: Samples and tasks.
        images: How many distinct images there are.
        present: How many of them are there.
        path: Where the rows were read.
    """

    name: str
    sha256: str
    benchmark: Benchmark
    images: int
    present: int
    path: str


def is_own(name: str) -> bool:
    """True if a name is that of a file or folder, and of no protocol."""
    named = name in registry() or name in ALIASES or name in GROUPS or name in BENCHMARKS
    return not named and parts_of(name)[0].exists()


def own(path: str) -> Own:
    """Return what a file, in any format that training reads, gives to measure.

    Captions and long captions are retrieved, each caption is chosen among its hard negatives, each box's phrase among
    its own, and boxes are classified where their phrases are few.

    Args:
        path: A file or folder, as `foveal train --data` takes it.

    Raises:
        ValueError: If nothing in it can be measured.
    """
    samples = tuple(open_source(path))
    tasks = tasks_for(samples)
    if not tasks:
        raise ValueError(
            f"{path} has {len(samples):,} samples and none has a caption, a negative or a phrase. Add some."
        )
    sha256 = digest(line for rows in _parts(samples) if rows for line in canonical(rows))
    places = dict.fromkeys(sample.image for sample in samples)
    present = sum(isinstance(place, bytes) or place.is_file() for place in places)
    return Own(f"own@{sha256[:12]}", sha256, Benchmark(samples, tasks), len(places), present, path)


def tasks_for(samples: Sequence[Sample]) -> tuple[Task, ...]:
    """Return the tasks that samples hold something for, by the rules of named protocols."""
    regions = [region for sample in samples for region in sample.regions]
    phrases = {region.phrase for region in regions}
    tasks: list[tuple[bool, Task]] = [
        (any(sample.captions for sample in samples), Retrieval("caption", equal_texts="own", ties="half")),
        (any(sample.long_caption for sample in samples), Retrieval("long_caption", equal_texts="own", ties="half")),
        (any(sample.captions and sample.caption_negatives for sample in samples), CaptionChoice("caption")),
        (any(sample.long_caption_negatives for sample in samples), CaptionChoice("long_caption")),
        (any(region.negatives for region in regions), RegionChoice()),
        (1 < len(phrases) <= len(regions) / 2, RegionClassification(tuple(sorted(phrases)), ties="half")),
    ]
    return tuple(task for holds, task in tasks if holds)


def _parts(samples: Iterable[Sample]) -> tuple[list[Row], ...]:
    """Canonical rows of what samples hold, a form each."""
    captions: list[Row] = []
    longs: list[Row] = []
    cases: list[Row] = []
    boxes: list[Row] = []
    for sample in samples:
        name = sample.image.name if isinstance(sample.image, Path) else sample.id
        if sample.captions:
            captions.append(Captions(name, sample.captions))
        if sample.long_caption:
            longs.append(Captions(name, (sample.long_caption,)))
        for text, negatives in (
            (sample.captions[:1], sample.caption_negatives),
            ((sample.long_caption,), sample.long_caption_negatives),
        ):
            if negatives:
                cases.append(Case(sample.id, (name,), text, tuple(negative.text for negative in negatives)))
        for region in sample.regions:
            x0, y0, x1, y1 = (edge * _SIDE for edge in region.box)
            wrong = tuple(negative.text for negative in region.negatives)
            boxes.append(Box(name, (x0, y0, x1 - x0, y1 - y0), (region.phrase,), wrong))
    return captions, longs, cases, boxes
