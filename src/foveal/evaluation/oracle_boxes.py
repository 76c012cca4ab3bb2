"""Detection with true boxes: recognition alone, as average precision."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ..encoder.prompts import PLAIN, ensemble, filled
from ..types import Detections, Sample
from .average_precision import Precision, Rule, Truth, average_precision
from .classification import class_names
from .encoded import Encoded, Needs
from .result import Metric, Queries, Result

_SIDE = 1000  # pixels that stand for a side: areas play no part
_DRAWS = 20  # of pictures, for the interval: each takes an evaluation of its own


@dataclass(frozen=True)
class OracleBoxes:
    """AP50 of true boxes, each with its best classes; a region's phrase is its class. Every box counts, crowds too.

    Isolates what a detector recognizes from where it looks, and costs no detector.

    Attributes:
        classes: All that compete.
        novel: Those whose mean is given apart. Empty: none is.
        prompts: With {} for the class name; more than one make an ensemble.
        labels: Classes a box is given, its best ones.
        scale: Inverse temperature of the softmax, whose probability is the score that ranks boxes of all pictures.
    """

    classes: tuple[str, ...] | None = None
    novel: tuple[str, ...] = ()
    prompts: tuple[str, ...] = PLAIN
    labels: int = 5
    scale: float = 50.0

    @property
    def name(self) -> str:
        """Of the task."""
        return "oracle_boxes"

    @property
    def unit(self) -> str:
        """A region is one box."""
        return "regions"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many regions there are."""
        return sum(len(sample.regions) for sample in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """Every box, and every class in every prompt."""
        return Needs({"phrase": filled(self.prompts, self._names(samples))}, regions=True)

    def __call__(self, encoded: Encoded) -> Result:
        """Label boxes and measure their precision."""
        assert encoded.regions is not None
        names = self._names(encoded.samples)
        prompts = encoded.embeddings(filled(self.prompts, names), "phrase")
        classes = ensemble(prompts.unflatten(0, (len(names), len(self.prompts))))
        likely = (self.scale * encoded.regions @ classes.T).softmax(dim=1)
        place = {name: number for number, name in enumerate(names)}
        label = torch.tensor([place[region.phrase] for sample in encoded.samples for region in sample.regions])
        boxes = torch.tensor([region.box for sample in encoded.samples for region in sample.regions])
        truths, detections = self._by_picture(boxes, label, likely, encoded.region_picture, names)
        groups: dict[str, list[int] | None] = {"ap50": None}
        if self.novel:
            groups |= {"ap50_novel": [place[name] for name in self.novel]}
            groups |= {"ap50_base": [place[name] for name in names if name not in self.novel]}
        first = likely.argmax(dim=1) == label
        return Result(
            metrics=precision_metrics(truths, detections, len(names), groups),
            queries={"top1": Queries(first.long(), encoded.region_picture)},
            notes=(f"{len(names)} classes, {self.labels} a box, softmax of {self.scale:g} times the cosine",),
        )

    def _by_picture(
        self,
        boxes: Float[Tensor, "R 4"],
        label: Tensor,
        likely: Float[Tensor, "R C"],
        picture: Tensor,
        names: Sequence[str],
    ) -> tuple[list[Truth], list[Detections]]:
        truths, detections = [], []
        best = likely.topk(min(self.labels, likely.shape[1]), dim=1)
        for number in picture.unique():
            rows = picture == number
            truths.append(Truth(boxes[rows], label[rows].tolist()))
            score, shown = best.values[rows], best.indices[rows]
            places = boxes[rows][:, None].expand(-1, score.shape[1], -1).flatten(0, 1)
            detections.append(Detections(places, score.flatten(), shown.flatten(), tuple(names), _SIDE, _SIDE))
        return truths, detections

    def _names(self, samples: Sequence[Sample]) -> tuple[str, ...]:
        return class_names(self.classes, [region.phrase for sample in samples for region in sample.regions])


def precision_metrics(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    classes: int,
    groups: Mapping[str, list[int] | None],
    rule: Rule = "coco",
    *,
    at50: bool = True,
) -> dict[str, Metric]:
    """Return average precision of groups of classes, with intervals of 95 % from drawing pictures anew.

    Args:
        truths: Of each picture.
        detections: Of each picture.
        classes: Number of classes.
        groups: Classes of each group. None: all.
        rule: How precision is counted.
        at50: At an overlap of 0.5; else the mean from 0.5 to 0.95.
    """
    judge = partial(average_precision, classes=classes, rule=rule)
    whole = judge(truths, detections)
    generator = torch.Generator().manual_seed(0)
    draws: list[Precision] = []
    for _ in range(_DRAWS):
        rows = torch.randint(len(truths), (len(truths),), generator=generator).tolist()
        draws.append(judge([truths[row] for row in rows], [detections[row] for row in rows]))
    count = sum(len(truth.boxes) for truth in truths)
    metrics = {}
    for name, members in groups.items():
        value = whole.mean(members, at50=at50)
        half = 1.96 * float(torch.tensor([draw.mean(members, at50=at50) for draw in draws]).std())
        metrics[name] = Metric(value, max(0.0, value - half), min(100.0, value + half), count)
    return metrics
