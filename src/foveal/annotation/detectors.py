"""Detectors of phrases: what proposes boxes for names, and an assistant that sees pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..detection.dense import Dense
from ..detection.proposals import Proposals, Proposer
from ..types import Box
from .assistant.items import by_index, items_schema, numbered_lines
from .assistant.prompt import fill
from .assistant.protocol import AssistantProtocol

PUBLISHED = 0.4  # FG-CLIP keeps boxes of a confidence above (arXiv:2505.05071, section 3.2)


class Detection(NamedTuple):
    """A box in which a phrase was found.

    Attributes:
        phrase: Which, a number within its picture's phrases.
        box: In fractions of the picture.
        score: How sure, 0 to 1; comparable within one detector.
    """

    phrase: int
    box: Box
    score: float


@runtime_checkable
class Detector(Protocol):
    """Interface of a detector of phrases: a frozen dataclass that survives pickling before its first call."""

    def find(self, pictures: Sequence[Path | bytes], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Return the boxes of each picture's phrases, above the detector's own threshold.

        Raises:
            ValueError: If a picture is broken.
        """


@dataclass(frozen=True)
class Proposed:
    """What proposes boxes with scores for names, as a detector of phrases.

    Attributes:
        proposer: An encoder's dense features, which need no further model, or a detector of `transformers`.
        threshold: Least score. Those of dense features are of another size in every encoder, so none is refused.
        per_phrase: Boxes given of a phrase, its best ones.
    """

    proposer: Proposer = field(default_factory=Dense)
    threshold: float = 0.0
    per_phrase: int = 10

    def find(self, pictures: Sequence[Path | bytes], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Return the best boxes of each picture's phrases.

        Raises:
            ValueError: If a picture is broken, or the proposer gives no scores for names.
        """
        return [self._detections(proposals) for proposals in self.proposer.propose(pictures, phrases)]

    def _detections(self, proposals: Proposals) -> list[Detection]:
        if proposals.class_score is None:
            raise ValueError("Grounding needs a proposer that scores names, such as dense or owlv2.")
        best = proposals.class_score.topk(min(self.per_phrase, len(proposals)), dim=0)
        detections = []
        for phrase, (scores, rows) in enumerate(zip(best.values.T.tolist(), best.indices.T.tolist(), strict=True)):
            for score, row in zip(scores, rows, strict=True):
                if score >= self.threshold:
                    x0, y0, x1, y1 = proposals.boxes[row].tolist()
                    detections.append(Detection(phrase, (x0, y0, x1, y1), score))
        return detections


SCHEMA = items_schema(
    "boxes",
    {
        "type": "array",
        "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
    },
)
_UNITS = 1000  # of the picture's width and height: what models that were taught to point answer in


@dataclass(frozen=True)
class AssistantDetector:
    """An assistant that answers with boxes. It names no confidence: its boxes have a score of 1.

    Attributes:
        assistant: Whom to ask.
        prompt: What it is asked, see `prompt.fill`.
        at_once: Phrases in one question.
    """

    assistant: AssistantProtocol
    prompt: str = "ground.v1"
    at_once: int = 16

    def find(self, pictures: Sequence[Path | bytes], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Return the boxes of the answers.

        Raises:
            ValueError: If a picture is broken, or no answer came that has boxes.
        """
        return [self._find(picture, names) for picture, names in zip(pictures, phrases, strict=True)]

    def _find(self, picture: Path | bytes, phrases: Sequence[str]) -> list[Detection]:
        detections: list[Detection] = []
        for start in range(0, len(phrases), self.at_once):
            batch = phrases[start : start + self.at_once]
            question = fill(self.prompt, phrases=numbered_lines(batch))
            boxes = self.assistant.ask(question, SCHEMA, picture, check=partial(_boxes, count=len(batch)))
            detections += [Detection(start + number, box, 1.0) for number, box in boxes]
        return detections


def _boxes(answer: Any, count: int) -> list[tuple[int, Box]]:
    """Return the boxes of an answer, in fractions.

    Raises:
        ValueError: If one is none, or of a phrase that was not asked for.
    """
    boxes = []
    for index, item in by_index(answer, count):
        for x0, y0, x1, y1 in item["boxes"]:
            if not (0 <= x0 < x1 <= _UNITS and 0 <= y0 < y1 <= _UNITS):
                raise ValueError(f"box {[x0, y0, x1, y1]} is not [x0, y0, x1, y1] within 0 to {_UNITS}")
            boxes.append((index, (x0 / _UNITS, y0 / _UNITS, x1 / _UNITS, y1 / _UNITS)))
    return boxes
