"""Grounding: from phrases that stand for the whole picture to boxes around what they name.

FG-CLIP (arXiv:2505.05071, section 3.2) looks for each phrase with an open-vocabulary detector, suppresses overlapping
boxes, and keeps those of a confidence above 0.4. The overlap from which boxes are suppressed is not published.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING

from ...detection.dense import Dense
from ...detection.lookup import DETECTORS, OpenVocabulary
from ...types import Box, Region, Sample
from ..assistant.protocol import threads
from ..detectors import PUBLISHED, AssistantDetector, Detection, Detector, Proposed
from ..stage import WHOLE, remark

if TYPE_CHECKING:
    from .settings import Settings


@dataclass(frozen=True)
class Choice:
    """Choice of the detected boxes that are kept.

    Attributes:
        overlap: Of boxes with a greater intersection over union, whatever their phrases, the surer one is kept.
        least: Boxes with a shorter side, in fractions of the picture, are dropped.
        boxes: Of one phrase at most, the surest.
    """

    overlap: float = 0.7
    least: float = 0.02
    boxes: int = 1

    def __call__(self, detections: Iterable[Detection]) -> list[Detection]:
        """Return the boxes to keep, clipped to the picture, surest first."""
        chosen_boxes: list[Detection] = []
        counts: dict[int, int] = {}
        for detection in sorted(detections, key=lambda candidate: (-candidate.score, candidate.phrase)):
            box = _clipped(detection.box)
            if not all(map(isfinite, (*detection.box, detection.score))):
                remark("box that is none")
            elif min(box[2] - box[0], box[3] - box[1]) < self.least:
                remark("box that is too small")
            elif any(intersection_over_union(box, surer.box) > self.overlap for surer in chosen_boxes):
                remark("box that another one covers")
            elif counts.get(detection.phrase, 0) < self.boxes:
                counts[detection.phrase] = counts.get(detection.phrase, 0) + 1
                chosen_boxes.append(detection._replace(box=box))
        return chosen_boxes

    def place(self, sample: Sample, detections: Iterable[Detection]) -> Sample:
        """Return the sample with its open phrases in their boxes. Phrases that were not found are left out."""
        boxes = self(detections)
        phrases = open_phrases(sample)
        regions = [region for region in sample.regions if region.box != WHOLE]
        boxes.sort(key=lambda detection: detection.phrase)
        regions += [replace(phrases[detection.phrase], box=detection.box) for detection in boxes]
        remark("phrase not found", len(phrases) - len({detection.phrase for detection in boxes}))
        return replace(sample, regions=tuple(regions))


def _clipped(box: Box) -> Box:
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in box)
    return x0, y0, x1, y1


def intersection_over_union(left: Box, right: Box) -> float:
    """Return how much two boxes overlap: 0 apart, 1 the same."""
    width = min(left[2], right[2]) - max(left[0], right[0])
    height = min(left[3], right[3]) - max(left[1], right[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((left[2] - left[0]) * (left[3] - left[1]) + (right[2] - right[0]) * (right[3] - right[1]) - shared)


def open_phrases(sample: Sample) -> list[Region]:
    """Return the regions that have not been looked for yet."""
    return [region for region in sample.regions if region.box == WHOLE]


@dataclass(frozen=True)
class Ground:
    """Stage that looks for every phrase without a box; a region with a box is left as it is.

    Attributes:
        detector: What looks.
        choice: Which boxes are kept.
        batch_size: Samples looked at together.
    """

    detector: Detector = field(default_factory=Proposed)
    choice: Choice = field(default_factory=Choice)
    batch_size: int = 32

    @classmethod
    def of(cls, settings: "Settings") -> "Ground | GroundByAsking":
        """Build with the settings' detector.

        Raises:
            ValueError: If an assistant shall point and there is none.
        """
        if settings.detector == "dense":
            return cls(Proposed(Dense(settings.encoder, device=settings.device)))
        if settings.detector != "assistant":
            name = DETECTORS.get(settings.detector, settings.detector)
            return cls(Proposed(OpenVocabulary(name, settings.device, words=True), PUBLISHED))
        if settings.assistant is None:
            raise ValueError(
                'Detector "assistant" needs an endpoint. Give --endpoint and --model, or another detector.'
            )
        return GroundByAsking(AssistantDetector(settings.assistant))

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with boxes.

        Raises:
            ValueError: If the picture is broken.
        """
        outcome = self.batch([sample])[0]
        if isinstance(outcome, ValueError):
            raise outcome
        return outcome

    def batch(self, samples: Sequence[Sample]) -> "list[Sample | ValueError]":
        """Return what becomes of each sample; a broken picture costs its own sample alone."""
        work = [sample for sample in samples if open_phrases(sample)]
        outcomes = iter(self._looked(work))
        return [next(outcomes) if open_phrases(sample) else sample for sample in samples]

    def _looked(self, samples: list[Sample]) -> "list[Sample | ValueError]":
        if not samples:
            return []
        phrases = [[region.phrase for region in open_phrases(sample)] for sample in samples]
        try:
            detections = self.detector.find([sample.image for sample in samples], phrases)
        except ValueError as error:
            if len(samples) == 1:
                return [error]
            return [outcome for sample in samples for outcome in self._looked([sample])]
        return [self.choice.place(sample, boxes) for sample, boxes in zip(samples, detections, strict=True)]


@dataclass(frozen=True)
class GroundByAsking:
    """Stage like `Ground`, with an assistant that answers with boxes: sample by sample, many at once.

    Attributes:
        detector: Whom to ask, and how.
        choice: Which boxes are kept.
    """

    detector: AssistantDetector
    choice: Choice = field(default_factory=Choice)

    @property
    def concurrency(self) -> int:
        """How many samples may wait for answers at once."""
        return threads(self.detector.assistant)

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with boxes.

        Raises:
            ValueError: If the picture is broken, or no answer came that has boxes.
        """
        phrases = [region.phrase for region in open_phrases(sample)]
        if not phrases:
            return sample
        return self.choice.place(sample, self.detector.find([sample.image], [phrases])[0])
