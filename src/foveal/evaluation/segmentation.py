"""Segmentation: mean intersection over union of label maps, over all pixels of a set at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from ..encoder.segmenting import NONE, Segmenting
from ..types import Sample, Segmentation
from .encoded import Encoded, Needs
from .result import Metric, Queries, Result

IGNORED = 255
"""What a label map has where a pixel counts for nothing."""
_DRAWS = 1000  # of pictures, for intervals

Background = Literal["ignored", "class", "rest"]
"""What is done with the label 0 of a map: its pixels count for nothing; it is a class, of pixels that no name is sure
of; or it is a class, of pixels that names beyond the classes win (CAT-Seg's "PAS-20b")."""


@runtime_checkable
class Segments(Protocol):
    """What segmentation needs of an encoder; `foveal.encoder.Encoder` is one."""

    def segment(
        self, pictures: Iterable[Path | bytes], names: Sequence[str], *, templates: Sequence[str], settings: Segmenting
    ) -> list[Segmentation]:
        """Return what every pixel shows."""


@dataclass(frozen=True)
class Counts:
    """Pixels of each class in each picture.

    Attributes:
        both: Where truth and labels are the class.
        truth: Where the truth is.
        labels: Where labels are.
    """

    both: Int[Tensor, "N C"]
    truth: Int[Tensor, "N C"]
    labels: Int[Tensor, "N C"]


def count_pixels(
    labels: Int[Tensor, "Y X"], truth: Int[Tensor, "Y X"], classes: int, ignored: int = IGNORED
) -> tuple[Int[Tensor, " C"], Int[Tensor, " C"], Int[Tensor, " C"]]:
    """Return how many pixels of each class truth and labels share, and how many each of them has.

    Args:
        labels: A class each.
        truth: A class each, or `ignored`.
        classes: How many there are.
        ignored: Pixels of this truth count for nothing.

    Raises:
        ValueError: If the truth holds a class that there is not, or sizes differ.
    """
    if labels.shape != truth.shape:
        raise ValueError(f"Labels are of {tuple(labels.shape)} pixels and the truth of {tuple(truth.shape)}.")
    real = truth != ignored
    truth, labels = truth[real], labels[real]
    if len(truth) and not 0 <= int(truth.min()) <= int(truth.max()) < classes:
        raise ValueError(f"The truth holds class {int(truth.max())}, and there are {classes}. Is it another set's?")
    both = torch.bincount(truth[truth == labels], minlength=classes)
    return both, torch.bincount(truth, minlength=classes), torch.bincount(labels, minlength=classes)


def mean_iou(counts: Counts, weight: Float[Tensor, "D N"] | None = None) -> Float[Tensor, " D"]:
    """Return the mean over classes of intersection over union, in percent; classes that never occur are left out.

    Args:
        counts: Of each picture.
        weight: How often each picture counts, several times over. None: each once.
    """
    weight = torch.ones(1, len(counts.both)) if weight is None else weight
    both, truth, labels = (weight.double() @ part.double() for part in (counts.both, counts.truth, counts.labels))
    union = truth + labels - both
    return 100 * torch.where(union > 0, both / union, torch.nan).nanmean(dim=1)


@dataclass(frozen=True)
class SegmentationTask:
    """Every pixel of a photo is given one of the classes, without training.

    Attributes:
        names: That compete, the classes first.
        classes: How many of them are classes; what the others win is background.
        masks: The label map of each sample, by its id: 0 for background, then the classes.
        background: What is done with the label 0.
        templates: Prompts with {} for the name.
        settings: How dense features are read, and pixels labelled.
    """

    names: tuple[str, ...]
    classes: int
    masks: Mapping[str, Path] = field(default_factory=dict)
    background: Background = "ignored"
    templates: tuple[str, ...] = ("a photo of a {}.",)
    settings: Segmenting = field(default_factory=Segmenting)

    @property
    def name(self) -> str:
        """Of the task."""
        return "segmentation"

    @property
    def unit(self) -> str:
        """A sample is one picture."""
        return "pictures"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many samples have a label map."""
        return sum(self.masks[sample.id].is_file() for sample in samples if sample.id in self.masks)

    def needs(self, samples: Sequence[Sample]) -> Needs:  # noqa: ARG002
        """Nothing is encoded beforehand."""
        return Needs()

    def __call__(self, encoded: Encoded) -> Result:  # noqa: ARG002
        """Refuse: pixels are not encoded."""
        raise ValueError("Segmentation looks at pictures themselves. Call it through a benchmark.")

    def measure(self, encoder: object, samples: Sequence[Sample], load: Callable[[Path], Path | bytes]) -> Result:
        """Label the pictures one by one and count pixels.

        Raises:
            ValueError: If the encoder cannot segment, or a label map is another set's.
        """
        if not isinstance(encoder, Segments):
            raise ValueError(f"A {type(encoder).__name__} cannot label pixels. Give an encoder of `foveal.load`.")  # noqa: TRY004
        measurable = [sample for sample in samples if sample.id in self.masks and self.masks[sample.id].is_file()]
        rows = []
        for sample in measurable:
            picture = load(sample.image) if isinstance(sample.image, Path) else sample.image
            (segmentation,) = encoder.segment([picture], self.names, templates=self.templates, settings=self.settings)
            rows.append(count_pixels(self._numbers(segmentation.labels), self._truth(sample.id), self._count))
        counts = Counts(*(torch.stack(part) for part in zip(*rows, strict=True)))
        return self._result(counts)

    @property
    def _count(self) -> int:
        """Classes, background included where it is one."""
        return self.classes + (self.background != "ignored")

    def _numbers(self, labels: Int[Tensor, "Y X"]) -> Int[Tensor, "Y X"]:
        """Return labels as classes are numbered."""
        if self.background == "ignored":
            return labels
        beyond = (labels == NONE) | (labels >= self.classes)
        return torch.where(beyond, 0, labels + 1)

    def _truth(self, name: str) -> Int[Tensor, "Y X"]:
        """Return a label map as classes are numbered. A palette is never turned into colors."""
        with Image.open(self.masks[name]) as picture:
            numbers = torch.from_numpy(np.array(picture)).long()
        if self.background == "ignored":
            return torch.where((numbers == 0) | (numbers == IGNORED), IGNORED, numbers - 1)
        return numbers

    def _result(self, counts: Counts) -> Result:
        pictures = len(counts.both)
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randint(pictures, (_DRAWS, pictures), generator=generator)
        weight = torch.zeros(_DRAWS, pictures).scatter_add_(1, drawn, torch.ones(_DRAWS, pictures))
        right, real = counts.both.sum(dim=1).double(), counts.truth.sum(dim=1).double()
        accuracy = 100 * (weight.double() @ right) / (weight.double() @ real)
        metrics = {
            "miou": _metric(float(mean_iou(counts)[0]), mean_iou(counts, weight), pictures),
            "pixel_accuracy": _metric(float(100 * right.sum() / real.sum()), accuracy, pictures),
        }
        shares = (100 * right / real.clamp(min=1)).float()
        queries = Queries(shares.round().long(), torch.arange(pictures), value=shares)
        notes = (f"{self.classes} classes, {len(self.names)} names, background {self.background}, {self.settings}",)
        return Result(metrics=metrics, queries={"pictures": queries}, notes=notes)


def _metric(value: float, draws: Float[Tensor, " D"], count: int) -> Metric:
    low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=draws.dtype)).tolist()
    return Metric(value, low, high, count)
