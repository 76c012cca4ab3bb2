"""Detectors of phrases: an encoder's dense features, open-vocabulary models, an assistant that sees pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..data.images import open_upright
from ..encoder import Encoder
from ..types import Box
from .assistant.prompt import fill
from .assistant.protocol import AssistantProtocol
from .encoders import load_encoder

PUBLISHED = 0.4  # FG-CLIP keeps boxes of a confidence above (arXiv:2505.05071, section 3.2)
_NEUTRAL = ("a photo", "a picture", "something", "background", "a scene")
_LONGEST_SIDE = 1333  # pixels; detectors scale down to less
_FINEST = 32  # cells a side of the map that boxes are looked for on: work grows with the cube


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
class Dense:
    """An encoder's dense features as a detector that needs no further model: any encoder, the starter included.

    A phrase is compared with every cell of the picture's map. What other phrases of the picture say of the same cell
    counts against it, so that each phrase is looked for where it fits better than the others. The box is the
    rectangle in which the similarities, taken from a level between the map's least and greatest, sum up to most.

    Attributes:
        encoder: An encoder, or its name for `foveal.load`.
        level: Where between least (0) and greatest (1) similarity a cell begins to count for the box.
        contrast: How much of the other phrases' similarity is taken away. With one phrase: of neutral words'.
        threshold: Least mean similarity in the box. Cosines are of another size in every encoder, so none is refused.
        device: Where an encoder that is loaded by name runs.
    """

    encoder: Encoder | str = "starter"
    level: float = 0.45
    contrast: float = 0.5
    threshold: float = -1.0
    device: str | None = None

    def find(self, pictures: Sequence[Path | bytes], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Return one box for each phrase, with the mean similarity in it as its score.

        Raises:
            ValueError: If a picture is broken.
        """
        encoder = load_encoder(self.encoder, self.device) if isinstance(self.encoder, str) else self.encoder
        texts = list(dict.fromkeys(text for names in phrases for text in names))
        rows = {text: row for row, text in enumerate(texts)}
        embedded = encoder.encode_texts([*texts, *_NEUTRAL], kind="phrase")
        neutral = torch.nn.functional.normalize(embedded[len(texts) :].mean(0), dim=0)
        maps = encoder.encode_patches(pictures)
        detections = []
        for patches, names in zip(maps, phrases, strict=True):
            similarity = patches @ embedded[[rows[text] for text in names]].T  # (Y, X, phrases)
            rival = _rivals(similarity) if len(names) > 1 else (patches @ neutral)[..., None]
            detections.append(self._detections(similarity, similarity - self.contrast * rival))
        return detections

    def _detections(self, similarity: Tensor, contrasted: Tensor) -> list[Detection]:
        detections = []
        for phrase in range(similarity.shape[-1]):
            x0, y0, x1, y1 = heaviest_box(contrasted[..., phrase], self.level)
            rows, columns = similarity.shape[:2]
            score = float(similarity[y0:y1, x0:x1, phrase].mean())
            if score >= self.threshold:
                detections.append(Detection(phrase, (x0 / columns, y0 / rows, x1 / columns, y1 / rows), score))
        return detections


def _rivals(similarity: Float[Tensor, "Y X _p"]) -> Float[Tensor, "Y X _p"]:
    """Return the greatest similarity of any other phrase in each cell."""
    best, second = similarity.topk(2, dim=-1).values.split(1, dim=-1)
    return torch.where(similarity == best, second, best)


def heaviest_box(similarity: Float[Tensor, "Y X"], level: float) -> tuple[int, int, int, int]:
    """Return the rectangle of the greatest sum, counted from a level between the least (0) and greatest (1) value.

    Args:
        similarity: A map of any size; what is finer than 32 cells a side is averaged.
        level: Cells below it weigh against a rectangle that holds them.

    Returns:
        (x0, y0, x1, y1) in cells, ends excluded. The whole map if all are equal.
    """
    step = -(-max(similarity.shape) // _FINEST)
    rows, columns = similarity.shape
    if step > 1:
        similarity = torch.nn.functional.avg_pool2d(similarity[None, None], step, ceil_mode=True)[0, 0]
    values = similarity.double().numpy()
    least, greatest = values.min(), values.max()
    if greatest - least < 1e-9:
        return 0, 0, columns, rows
    x0, y0, x1, y1 = _heaviest(values - (least + level * (greatest - least)))
    return x0 * step, y0 * step, min(x1 * step, columns), min(y1 * step, rows)


def _heaviest(values: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Return the rectangle of the greatest sum: of every pair of rows the best run of columns."""
    height, width = values.shape
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = values.cumsum(0).cumsum(1)
    top, bottom = np.triu_indices(height + 1, 1)
    bands = sums[bottom] - sums[top]  # (pairs of rows, width + 1): of everything left of a column
    lowest = np.minimum.accumulate(bands, axis=1)
    runs = bands[:, 1:] - lowest[:, :-1]
    pair, last = np.unravel_index(runs.argmax(), runs.shape)
    first = int(bands[pair, : last + 1].argmin())
    return first, int(top[pair]), int(last) + 1, int(bottom[pair])


@dataclass(frozen=True)
class OpenVocabulary:
    """Grounding DINO, OWL-ViT and OWLv2 of `transformers`, from the hub or a folder.

    Each phrase is asked by itself: detectors that read all phrases as one sentence give words back, from which it
    cannot be told for certain which phrase was meant.

    Attributes:
        name: On the hub, or a folder. Weights are read from safetensors only, no code of theirs is run.
        threshold: Least confidence. 0.4 as published.
        device: Where the model runs. None: on the GPU if there is one.
        at_once: Phrases in one pass.
    """

    name: str
    threshold: float = PUBLISHED
    device: str | None = None
    at_once: int = 16

    def find(self, pictures: Sequence[Path | bytes], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Return all boxes above the threshold.

        Raises:
            ValueError: If a picture is broken.
        """
        return [self._find(picture, names) for picture, names in zip(pictures, phrases, strict=True)]

    def _find(self, picture: Path | bytes, phrases: Sequence[str]) -> list[Detection]:
        model, processor, device = _detector(self.name, self.device)
        image = open_upright(picture, _LONGEST_SIDE)[0]
        detections = []
        for start in range(0, len(phrases), self.at_once):
            batch = phrases[start : start + self.at_once]
            inputs = processor(
                images=[image] * len(batch),
                text=_queries(model, batch),
                return_tensors="pt",
                padding="longest" if _reads_sentences(model) else "max_length",
                truncation=True,
            ).to(device)
            with torch.inference_mode():
                output = model(**inputs)
            ids = {"input_ids": inputs["input_ids"], "text_threshold": 0.0} if _reads_sentences(model) else {}
            results = processor.post_process_grounded_object_detection(
                output, threshold=self.threshold, target_sizes=[(image.height, image.width)] * len(batch), **ids
            )
            for number, result in enumerate(results, start=start):
                for box, score in zip(result["boxes"].tolist(), result["scores"].tolist(), strict=True):
                    x0, y0, x1, y1 = box
                    place = (x0 / image.width, y0 / image.height, x1 / image.width, y1 / image.height)
                    detections.append(Detection(number, place, score))
        return detections


def _reads_sentences(model: Any) -> bool:
    """True if the model is a Grounding DINO and no OWL."""
    return str(model.config.model_type).startswith(("grounding", "mm-grounding"))


def _queries(model: Any, phrases: Sequence[str]) -> Any:
    """Write phrases as the model reads them: Grounding DINO a sentence in lower case, OWL a list for each picture."""
    if _reads_sentences(model):
        return [phrase.lower().strip(" .") + "." for phrase in phrases]
    return [[phrase] for phrase in phrases]


@cache
def _detector(name: str, device: str | None) -> tuple[Any, Any, str]:
    """Return model, processor and device, loaded once a process."""
    try:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor
    except ImportError as error:
        raise ValueError('Detectors need transformers. Run: pip install "foveal[detect]".') from error
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model = AutoModelForZeroShotObjectDetection.from_pretrained(name, use_safetensors=True)
        opener: Any = AutoProcessor  # its types are not written down
        processor = opener.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Detector '{name}' cannot be loaded ({str(error).splitlines()[0]}). "
            'Give "dense", "assistant", or a detector of transformers: a folder or a hub name.'
        ) from error
    return model.eval().to(place), processor, place


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "number": {"type": "integer"},
                    "boxes": {
                        "type": "array",
                        "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
                    },
                },
                "required": ["number", "boxes"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["items"],
    "additionalProperties": False,
}
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
            numbered = "\n".join(f"{number}. {phrase}" for number, phrase in enumerate(batch, start=1))
            question = fill(self.prompt, phrases=numbered)
            boxes = self.assistant.ask(question, SCHEMA, picture, check=partial(_boxes, count=len(batch)))
            detections += [Detection(start + number, box, 1.0) for number, box in boxes]
        return detections


def _boxes(answer: Any, count: int) -> list[tuple[int, Box]]:
    """Return the boxes of an answer, in fractions.

    Raises:
        ValueError: If one is none, or of a phrase that was not asked for.
    """
    boxes = []
    for item in answer["items"]:
        if not 1 <= item["number"] <= count:
            raise ValueError(f"number {item['number']} is none of the phrases, which go from 1 to {count}")
        for x0, y0, x1, y1 in item["boxes"]:
            if not (0 <= x0 < x1 <= _UNITS and 0 <= y0 < y1 <= _UNITS):
                raise ValueError(f"box {[x0, y0, x1, y1]} is not [x0, y0, x1, y1] within 0 to {_UNITS}")
            boxes.append((int(item["number"]) - 1, (x0 / _UNITS, y0 / _UNITS, x1 / _UNITS, y1 / _UNITS)))
    return boxes
