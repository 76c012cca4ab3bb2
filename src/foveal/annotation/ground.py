"""Grounding: from phrases that stand for the whole picture to boxes around what they name.

FG-CLIP (arXiv:2505.05071, section 3.2) looks for each phrase with an open-vocabulary detector, suppresses overlapping
boxes, and keeps those of a confidence above 0.4. The overlap from which boxes are suppressed is not published.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING

from ..types import Box, Region, Sample
from .detectors import Dense, Detector, Found, OpenVocabulary, Pointing, threads
from .stage import WHOLE, remark

if TYPE_CHECKING:
    from .settings import Settings


@dataclass(frozen=True)
class Choice:
    """Which of the boxes found are kept.

    Attributes:
        overlap: Of boxes with a greater intersection over union, whatever their phrases, the surer one is kept.
        least: Boxes with a shorter side, in fractions of the picture, are dropped.
        boxes: Of one phrase at most, the surest.
    """

    overlap: float = 0.7
    least: float = 0.02
    boxes: int = 1

    def __call__(self, found: Iterable[Found]) -> list[Found]:
        """The boxes that are kept, clipped to the picture, surest first."""
        kept: list[Found] = []
        counts: dict[int, int] = {}
        for one in sorted(found, key=lambda each: (-each.score, each.phrase)):
            box = _clipped(one.box)
            if not all(map(isfinite, (*one.box, one.score))):
                remark("box that is none")
            elif min(box[2] - box[0], box[3] - box[1]) < self.least:
                remark("box that is too small")
            elif any(intersection_over_union(box, other.box) > self.overlap for other in kept):
                remark("box that another one covers")
            elif counts.get(one.phrase, 0) < self.boxes:
                counts[one.phrase] = counts.get(one.phrase, 0) + 1
                kept.append(one._replace(box=box))
        return kept

    def place(self, sample: Sample, found: Iterable[Found]) -> Sample:
        """The sample with its open phrases in their boxes. Phrases that were not found are left out."""
        kept = self(found)
        phrases = open_phrases(sample)
        regions = [region for region in sample.regions if region.box != WHOLE]
        kept.sort(key=lambda each: each.phrase)
        regions += [replace(phrases[one.phrase], box=one.box) for one in kept]
        remark("phrase not found", len(phrases) - len({one.phrase for one in kept}))
        return replace(sample, regions=tuple(regions))


def _clipped(box: Box) -> Box:
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in box)
    return x0, y0, x1, y1


def intersection_over_union(one: Box, other: Box) -> float:
    """How much two boxes overlap: 0 apart, 1 the same."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both)


def open_phrases(sample: Sample) -> list[Region]:
    """The regions that have not been looked for yet."""
    return [region for region in sample.regions if region.box == WHOLE]


@dataclass(frozen=True)
class Ground:
    """Looks for every phrase that has no box yet; a region with a box is left as it is.

    Attributes:
        detector: What looks.
        choice: Which boxes are kept.
        batch_size: Samples looked at together.
    """

    detector: Detector = field(default_factory=Dense)
    choice: Choice = field(default_factory=Choice)
    batch_size: int = 32

    @classmethod
    def of(cls, settings: "Settings") -> "Ground | GroundByAsking":
        """With the settings' detector.

        Raises:
            ValueError: If an assistant shall point and there is none.
        """
        if settings.detector == "dense":
            return cls(Dense(settings.encoder, device=settings.device))
        if settings.detector != "assistant":
            return cls(OpenVocabulary(settings.detector, device=settings.device))
        if settings.assistant is None:
            raise ValueError(
                'Detector "assistant" needs an endpoint. Give --endpoint and --model, or another detector.'
            )
        return GroundByAsking(Pointing(settings.assistant))

    def __call__(self, sample: Sample) -> Sample:
        """The sample with boxes.

        Raises:
            ValueError: If the picture is broken.
        """
        outcome = self.batch([sample])[0]
        if isinstance(outcome, ValueError):
            raise outcome
        return outcome

    def batch(self, samples: Sequence[Sample]) -> "list[Sample | ValueError]":
        """What becomes of each sample; a broken picture costs its own sample alone."""
        work = [sample for sample in samples if open_phrases(sample)]
        outcomes = iter(self._looked(work))
        return [next(outcomes) if open_phrases(sample) else sample for sample in samples]

    def _looked(self, samples: list[Sample]) -> "list[Sample | ValueError]":
        if not samples:
            return []
        phrases = [[region.phrase for region in open_phrases(sample)] for sample in samples]
        try:
            found = self.detector.find([sample.image for sample in samples], phrases)
        except ValueError as error:
            if len(samples) == 1:
                return [error]
            return [outcome for sample in samples for outcome in self._looked([sample])]
        return [self.choice.place(sample, some) for sample, some in zip(samples, found, strict=True)]


@dataclass(frozen=True)
class GroundByAsking:
    """As `Ground`, with an assistant that answers with boxes: sample by sample, many at once.

    Attributes:
        detector: Whom to ask, and how.
        choice: Which boxes are kept.
    """

    detector: Pointing
    choice: Choice = field(default_factory=Choice)

    @property
    def concurrency(self) -> int:
        """How many samples may wait for answers at once."""
        return threads(self.detector.assistant)

    def __call__(self, sample: Sample) -> Sample:
        """The sample with boxes.

        Raises:
            ValueError: If the picture is broken, or no answer came that has boxes.
        """
        phrases = [region.phrase for region in open_phrases(sample)]
        if not phrases:
            return sample
        return self.choice.place(sample, self.detector.find([sample.image], [phrases])[0])
