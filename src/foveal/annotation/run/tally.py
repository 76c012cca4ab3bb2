"""Counts of a run: samples in and out of each stage and why, and the shape of what came out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .engine import READ


@dataclass
class StageTally:
    """One stage's counts.

    Attributes:
        came: Samples that reached it.
        passed: Samples that went on.
        dropped: Samples judged as not wanted, by reason.
        failed: Samples that it could not work on, by kind of error.
        remarks: Parts of samples, by what was done to them.
        regions: In all samples that went on.
        negatives: Hard negatives in them.
    """

    came: int = 0
    passed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    regions: int = 0
    negatives: int = 0


class Tally:
    """Counts over a run's journal. Its size does not grow with the number of samples.

    Attributes:
        stages: By name, reading first.
        samples: All there were.
        caption_words: How many short captions have so many words.
        long_caption_words: How many long ones have.
        regions: How many pictures have so many regions.
        negatives: How many phrases have so many hard negatives.
        kinds: Hard negatives by what was changed.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.stages = {name: StageTally() for name in (READ, *names)}
        self.samples = 0
        self.caption_words: Counter[int] = Counter()
        self.long_caption_words: Counter[int] = Counter()
        self.regions: Counter[int] = Counter()
        self.negatives: Counter[int] = Counter()
        self.kinds: Counter[str] = Counter()

    @property
    def written(self) -> int:
        """Samples that passed all stages."""
        return next(reversed(self.stages.values())).passed

    @property
    def dropped(self) -> int:
        """Samples judged as not wanted."""
        return sum(stage.dropped.total() for stage in self.stages.values())

    @property
    def failed(self) -> int:
        """Samples that a stage could not work on."""
        return sum(stage.failed.total() for stage in self.stages.values())

    def add(self, entry: Mapping[str, Any]) -> None:
        """Count one sample, as the journal has it."""
        self.samples += 1
        counts = entry["passed"]
        for stage, (regions, negatives, remarks) in zip(self.stages.values(), counts, strict=False):
            stage.came += 1
            stage.passed += 1
            stage.regions += regions
            stage.negatives += negatives
            stage.remarks.update(remarks)
        if "failed" in entry:
            # an error's first words are its kind, what follows is of this sample alone
            self._end(self.stages[entry["failed"]], entry).failed[entry["reason"].partition(":")[0][:80]] += 1
        elif "dropped" in entry:
            self._end(self.stages[entry["dropped"]], entry).dropped[entry["reason"]] += 1
        else:
            self._shape(entry["row"])

    def _end(self, stage: StageTally, entry: Mapping[str, Any]) -> StageTally:
        """Count a sample that came to a stage and no further."""
        stage.came += 1
        stage.remarks.update(entry["remarks"])
        return stage

    def _shape(self, row: Mapping[str, Any]) -> None:
        """Count what a whole sample holds."""
        self.caption_words.update(len(caption.split()) for caption in row.get("captions", ()))
        if row.get("long_caption"):
            self.long_caption_words[len(row["long_caption"].split())] += 1
        regions = row.get("regions", ())
        self.regions[len(regions)] += 1
        for region in regions:
            negatives = region.get("negatives", ())
            self.negatives[len(negatives)] += 1
            self.kinds.update(negative.get("kind") or "unknown" for negative in negatives)

    def as_json(self) -> dict[str, Any]:
        """Return all counts, as plain values."""
        return {
            "samples": self.samples,
            "written": self.written,
            "dropped": self.dropped,
            "failed": self.failed,
            "stages": {name: vars(stage) for name, stage in self.stages.items()},
            "caption_words": dict(sorted(self.caption_words.items())),
            "long_caption_words": dict(sorted(self.long_caption_words.items())),
            "regions_per_picture": dict(sorted(self.regions.items())),
            "negatives_per_phrase": dict(sorted(self.negatives.items())),
            "kinds": dict(self.kinds.most_common()),
        }


def median(counts: Counter[int]) -> int:
    """Return the value in the middle; 0 if there are none."""
    total = 0
    for value, count in sorted(counts.items()):
        total += count
        if 2 * total >= counts.total():
            return value
    return 0
