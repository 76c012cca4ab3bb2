"""Detection by any words: average precision of boxes that a proposer finds and an encoder names."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ..detection.detect import detect, usual
from ..detection.files import FromFile
from ..detection.lookup import proposer
from ..encoder import Encoder
from ..encoder.prompts import PLAIN
from ..types import Detections, Sample
from .average_precision import Rule, Truth
from .encoded import Encoded, Needs
from .oracle_boxes import precision_metrics
from .result import Queries, Result
from .shared import Shared

_TOP = {"coco": 100, "lvis": 300, "lvis-fixed": 10_000}
"""Boxes kept of a picture."""


@dataclass(frozen=True)
class DetectionTask:
    """Boxes of all classes at once, by COCO's or LVIS's rules.

    Attributes:
        classes: All that compete, in the order of labels. Boxes of others do not exist.
        groups: Classes whose means are given apart, by the name of the group.
        annotations: The content of COCO's or LVIS's file.
        rule: How precision is counted.
        at50: At an overlap of 0.5; else the mean from 0.5 to 0.95.
        prompts: With {} for the class name; more than one make an ensemble.
        boxes: Where boxes come from, see `detection.lookup.proposer`.
    """

    classes: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    rule: Rule = "coco"
    at50: bool = True
    prompts: tuple[str, ...] = PLAIN
    boxes: str = "dense"

    @property
    def name(self) -> str:
        """Of the task."""
        return "detection"

    @property
    def unit(self) -> str:
        """A sample is one picture."""
        return "pictures"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many pictures there are."""
        return sum(1 for _ in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:  # noqa: ARG002
        """Nothing is encoded beforehand."""
        return Needs()

    def __call__(self, encoded: Encoded) -> Result:  # noqa: ARG002
        """Refuse: boxes are not encoded yet."""
        raise ValueError("Detection looks at pictures themselves. Call it through a benchmark.")

    def measure(self, encoder: object, samples: Sequence[Sample], load: Callable[[Path], Path | bytes]) -> Result:
        """Look for all classes in the pictures, one by one, and judge the boxes.

        Raises:
            ValueError: If the encoder looks for nothing, or the proposer is missing something.
        """
        subject = encoder.encoder if isinstance(encoder, Shared) else encoder
        if not isinstance(subject, Encoder):
            raise ValueError(f"A {type(subject).__name__} finds no boxes. Give an encoder of `foveal.load`.")  # noqa: TRY004
        source = proposer(self.boxes, subject)
        rescoring = replace(usual(source), top=_TOP[self.rule])
        options: dict[str, Any] = {"proposals": source, "templates": self.prompts, "rescoring": rescoring}
        truths = self._truths()
        judged, detections = list[Truth](), list[Detections]()
        for sample in samples:
            picture = load(sample.image) if isinstance(sample.image, Path) else sample.image
            judged.append(truths[sample.id])
            detections += detect(subject, [picture], self.classes, background=(), **options)
        place = {name: number for number, name in enumerate(self.classes)}
        title = "ap50" if self.at50 else "ap"
        groups: dict[str, list[int] | None] = {title: None}
        groups |= {f"{title}_{group}": [place[name] for name in names] for group, names in self.groups.items()}
        marked = f" (sha256 {source.hash})" if isinstance(source, FromFile) else ""
        counts = torch.tensor([len(boxes) for boxes in detections])
        return Result(
            metrics=precision_metrics(judged, detections, len(self.classes), groups, self.rule, at50=self.at50),
            queries={"boxes": Queries(counts, torch.arange(len(detections)))},
            notes=(f"{len(self.classes):,} classes, boxes={self.boxes}{marked}, {rescoring}, {self.rule}",),
        )

    def _truths(self) -> dict[str, Truth]:
        """Return the true boxes of every picture, by the picture's id."""
        content = self.annotations
        label = {name: number for number, name in enumerate(self.classes)}
        names = {entry["id"]: label.get(entry["name"].replace("_", " ")) for entry in content["categories"]}
        rows: dict[int, list[Any]] = {}
        for entry in content["annotations"]:
            if names[entry["category_id"]] is not None:
                rows.setdefault(entry["image_id"], []).append(entry)
        return {stem_of(image): _truth(image, rows.get(image["id"], []), names) for image in content["images"]}


def stem_of(image: Mapping[str, Any]) -> str:
    """Return the id of a picture as its file's name has it."""
    return PurePosixPath(str(image.get("file_name") or image.get("coco_url", image["id"]))).stem


def frequencies(annotations: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return LVIS's rare, common and frequent classes, which come with its file."""
    groups: dict[str, list[str]] = {"r": [], "c": [], "f": []}
    for entry in annotations["categories"]:
        groups[entry.get("frequency", "f")].append(entry["name"].replace("_", " "))
    return {name: tuple(names) for name, names in groups.items() if names}


def _truth(image: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], names: Mapping[int, int | None]) -> Truth:
    size = torch.tensor([image["width"], image["height"]] * 2)
    corners = [[x, y, x + w, y + h] for x, y, w, h in (entry["bbox"] for entry in entries)]
    numbers = {
        field: [number for entry in image.get(field, ()) if (number := names.get(entry)) is not None]
        for field in ("neg_category_ids", "not_exhaustive_category_ids")
    }
    labels = [names[entry["category_id"]] for entry in entries]
    return Truth(
        boxes=torch.tensor(corners, dtype=torch.float64).reshape(-1, 4) / size,
        label=[label for label in labels if label is not None],
        crowd=[bool(entry.get("iscrowd", 0)) for entry in entries],
        absent=numbers["neg_category_ids"],
        not_exhaustive=numbers["not_exhaustive_category_ids"],
    )
