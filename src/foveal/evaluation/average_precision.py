"""Average precision of boxes, by faster-coco-eval: COCO's and LVIS's rules, and the fixed AP of open vocabularies."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..types import Detections

Rule = Literal["coco", "lvis", "lvis-fixed"]
MISSING = 'Average precision needs faster-coco-eval. Run: pip install "foveal[detect]".'
FIXED = 10_000  # best detections of a class over the whole set (arXiv:2102.01066)
_ALL = 10**6  # detections of a picture, where there is no limit


@dataclass(frozen=True, eq=False)
class Truth:
    """The true boxes of one picture.

    Attributes:
        boxes: (x0, y0, x1, y1) in fractions of the picture.
        label: What each shows, a number within the classes.
        crowd: Boxes that hold many: detections in them count neither as right nor as wrong.
        absent: LVIS: classes that annotators looked for and did not find.
        not_exhaustive: LVIS: classes of which not all boxes are drawn.
    """

    boxes: Float[Tensor, "R 4"]
    label: Sequence[int]
    crowd: Sequence[bool] = ()
    absent: Sequence[int] = ()
    not_exhaustive: Sequence[int] = ()


@dataclass(frozen=True, eq=False)
class Precision:
    """Average precision, in percent.

    Attributes:
        ap: Mean over IoU from 0.5 to 0.95, of each class. NaN for classes without a true box.
        ap50: At IoU 0.5.
    """

    ap: Float[np.ndarray, " C"]
    ap50: Float[np.ndarray, " C"]

    def mean(self, classes: Sequence[int] | None = None, *, at50: bool = True) -> float:
        """Return the mean over classes that occur.

        Args:
            classes: Such as the novel ones. None: all.
            at50: At IoU 0.5; else from 0.5 to 0.95.
        """
        values = self.ap50 if at50 else self.ap
        values = values if classes is None else values[list(classes)]
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def average_precision(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    classes: int,
    *,
    rule: Rule = "coco",
    most: int = 100,
) -> Precision:
    """Return the average precision of detections.

    Args:
        truths: Of each picture.
        detections: Of each picture; labels are numbers within the classes.
        classes: Number of classes.
        rule: "coco"; "lvis", whose classes are judged where a picture says whether they are there; or "lvis-fixed",
            where a picture may have any number of detections and a class its best 10,000.
        most: Detections judged of a picture, but for "lvis-fixed".

    Raises:
        ValueError: If faster-coco-eval is not installed, or there are other numbers of pictures.
    """
    if len(truths) != len(detections):
        raise ValueError(f"There are true boxes of {len(truths)} pictures and detections of {len(detections)}.")
    dataset = _dataset(truths, detections, classes, lvis=rule != "coco")
    results = _results(detections)
    if rule == "lvis-fixed":
        results, most = _best_of_classes(results), _ALL
    return _evaluated(dataset, results, classes, lvis=rule != "coco", most=most)


def _dataset(
    truths: Sequence[Truth], detections: Sequence[Detections], classes: int, *, lvis: bool
) -> dict[str, list[dict[str, Any]]]:
    images, annotations = [], list[dict[str, Any]]()
    for number, (truth, boxes) in enumerate(zip(truths, detections, strict=True), start=1):
        image: dict[str, Any] = {"id": number, "width": boxes.width, "height": boxes.height}
        if lvis:
            image["neg_category_ids"] = [label + 1 for label in truth.absent]
            image["not_exhaustive_category_ids"] = [label + 1 for label in truth.not_exhaustive]
        images.append(image)
        crowd = truth.crowd or [False] * len(truth.boxes)
        for box, label, is_crowd in zip(truth.boxes.tolist(), truth.label, crowd, strict=True):
            place = _pixels(box, boxes)
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "bbox": place}
            annotations.append({**row, "area": place[2] * place[3], "iscrowd": int(is_crowd)})
    categories = [{"id": number + 1, "name": str(number), "frequency": "f"} for number in range(classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _results(detections: Sequence[Detections]) -> list[dict[str, Any]]:
    return [
        {"image_id": number, "category_id": label + 1, "bbox": _pixels(box, boxes), "score": score}
        for number, boxes in enumerate(detections, start=1)
        for box, score, label in zip(boxes.boxes.tolist(), boxes.score.tolist(), boxes.label.tolist(), strict=True)
    ]


def _pixels(box: Sequence[float], boxes: Detections) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0 * boxes.width, y0 * boxes.height, (x1 - x0) * boxes.width, (y1 - y0) * boxes.height]


def _best_of_classes(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the best detections of each class over the whole set."""
    counts: dict[int, int] = {}
    best = []
    for row in sorted(results, key=lambda row: -row["score"]):
        counts[row["category_id"]] = counts.get(row["category_id"], 0) + 1
        if counts[row["category_id"]] <= FIXED:
            best.append(row)
    return best


def _evaluated(
    dataset: Mapping[str, Any], results: list[dict[str, Any]], classes: int, *, lvis: bool, most: int
) -> Precision:
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise ValueError(MISSING) from error
    nothing = np.full(classes, np.nan)
    if not dataset["annotations"]:
        return Precision(nothing, nothing)
    if not results:
        absent = np.isin(np.arange(classes) + 1, [row["category_id"] for row in dataset["annotations"]], invert=True)
        return Precision(np.where(absent, np.nan, 0.0), np.where(absent, np.nan, 0.0))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(dataset)
        judge = COCOeval_faster(
            truth, truth.loadRes(results), "bbox", lvis_style=lvis, print_function=lambda *_, **__: None
        )
        judge.params.maxDets = [most] if lvis else [min(most, 1), min(most, 10), most]
        judge.evaluate()
        judge.accumulate()
    precision = np.asarray(judge.eval["precision"])[:, :, :, 0, -1]  # IoU, recall, class
    precision = np.where(precision < 0, np.nan, precision)
    return Precision(100 * precision.mean(axis=(0, 1)), 100 * precision[0].mean(axis=0))
