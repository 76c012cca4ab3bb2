"""Grounding DINO, MM-Grounding-DINO and LLMDet as proposers: names are read as one sentence."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from ..models.boxes import areas
from .hub import open_detector
from .owl import corners, normalized
from .proposals import Photo, Proposals, joined, no_proposals, opened

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_SHORT, _LONG = 800, 1333  # pixels of a picture's sides


@dataclass(frozen=True)
class Grounding:
    """A detector of Grounding DINO's family, as LLMDet (arXiv:2501.18954) evaluates on LVIS.

    Names are asked in chunks, each name followed by a full stop. A box's score for a name is the mean over the name's
    tokens of the sigmoids (the library's own post-processing takes the greatest token and gives words back, from which
    names can't be told for certain: 10 points of AP on LVIS). Of each chunk the best pairs of box and name stay; there
    is no threshold and no suppression. The picture's part of the network runs once, not once a chunk.

    Attributes:
        name: On the hub, or a folder.
        chunk: Names in one sentence. LLMDet has 40, and 80 in its better row; fewer where they have too many tokens.
        top: Pairs of box and name kept of each chunk.
        device: Where the model runs. None: on the GPU if there is one.
    """

    name: str = "iSEE-Laboratory/llmdet_tiny"
    chunk: int = 40
    top: int = 300
    device: str | None = None

    def propose(self, pictures: Sequence[Photo], names: Sequence[Sequence[str]]) -> list[Proposals]:
        """Return the best pairs of box and name, a box for each; boxes know the scores of their chunk's other names.

        Raises:
            ValueError: If a picture is broken, a name has too many tokens, or the detector is not there.
        """
        model, tokenizer, device = open_detector(self.name, self.device)
        _remember_pictures(model)
        proposals = []
        for picture, of_picture in zip(pictures, names, strict=True):
            words = [readable(name) for name in of_picture]
            sentences = _sentences(tokenizer, words, self.chunk, model.config.max_text_len)
            proposals.append(self._propose(model, device, opened(picture), sentences, len(words)))
        return proposals

    @torch.inference_mode()
    def _propose(
        self, model: Any, device: str, picture: Image.Image, sentences: "Iterator[_Sentence]", count: int
    ) -> Proposals:
        pixels = normalized(_scaled(picture), _MEAN, _STD).to(device)
        mask = torch.ones(1, *pixels.shape[2:], dtype=torch.long, device=device)
        parts = [no_proposals(count)]
        for sentence in sentences:
            tokens = {name: ids.to(device) for name, ids in sentence.tokens.items()}
            output = model(pixel_values=pixels, pixel_mask=mask, **tokens)
            score = class_scores(output.logits[0].float().cpu(), sentence.positions)
            parts.append(self._pairs(corners(output.pred_boxes[0].float().cpu()), score, sentence.first, count))
        return joined(parts)

    def _pairs(self, boxes: Tensor, score: Float[Tensor, "Q _c"], first: int, count: int) -> Proposals:
        """Return the best pairs of box and name, as boxes with an area that know all scores of the sentence."""
        best = score.flatten().topk(min(self.top, score.numel()))
        rows = best.indices // score.shape[1]
        class_score = torch.zeros(len(rows), count)
        class_score[:, first : first + score.shape[1]] = score[rows]
        pairs = Proposals(boxes[rows].clamp(0, 1), best.values, class_score)
        return pairs.take((areas(pairs.boxes) > 0).nonzero()[:, 0])


def readable(name: str) -> str:
    """Return a class name as the sentence has it: "cat_(animal)" is read as "cat"."""
    return " ".join(re.sub(r"\([^)]*\)", " ", name.replace("_", " ")).split())


def class_scores(logits: Float[Tensor, "Q L"], positions: Sequence[Sequence[int]]) -> Float[Tensor, "Q C"]:
    """Return how sure each query is of each name: the mean over the name's tokens of the sigmoids.

    Args:
        logits: Of each query and token.
        positions: Tokens of each name.
    """
    likely = logits.sigmoid()
    return torch.stack([likely[:, list(tokens)].mean(dim=1) for tokens in positions], dim=1)


@dataclass(frozen=True)
class _Sentence:
    """Names asked at once: their tokens, those of each name, and the number of the first name."""

    tokens: dict[str, Tensor]
    positions: tuple[tuple[int, ...], ...]
    first: int


def _sentences(tokenizer: Any, names: Sequence[str], chunk: int, most: int) -> Iterator[_Sentence]:
    """Yield all names in sentences of at most so many names and tokens."""
    start = 0
    while start < len(names):
        count = min(chunk, len(names) - start)
        while (sentence := _sentence(tokenizer, names[start : start + count], start, most)) is None:
            if count == 1:
                raise ValueError(f"'{names[start][:40]}' has more than {most} tokens. Give a shorter name.")
            count = (count + 1) // 2
        yield sentence
        start += count


def _sentence(tokenizer: Any, names: Sequence[str], first: int, most: int) -> _Sentence | None:
    """Return names as one sentence. None if it has too many tokens."""
    text, spans = "", []
    for name in names:
        spans.append((len(text), len(text) + len(name)))
        text += f"{name}. "
    tokens = dict(tokenizer(text, return_tensors="pt", return_offsets_mapping=True))
    places = tokens.pop("offset_mapping")[0].tolist()
    if len(places) > most:
        return None
    positions = tuple(
        tuple(place for place, (begin, end) in enumerate(places) if begin < end and begin >= low and end <= high)
        for low, high in spans
    )
    if not all(positions):
        name = names[[bool(tokens) for tokens in positions].index(False)]
        raise ValueError(f"The name '{name}' has no letter that the detector reads. Leave it out.")
    return _Sentence(tokens, positions, first)


def _scaled(picture: Image.Image) -> Image.Image:
    """Return a picture with a short side of 800 pixels, unless its long side would have more than 1,333."""
    scale = min(_SHORT / min(picture.size), _LONG / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BILINEAR)


class _Remembering(nn.Module):
    """A network that gives its last output again for the pixels of its last call."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.last: tuple[Tensor, Any] | None = None

    def forward(self, pixels: Tensor, mask: Tensor) -> Any:
        """Return what the network gives for these pixels."""
        if self.last is None or self.last[0] is not pixels:
            self.last = pixels, self.network(pixels, mask)
        return self.last[1]


def _remember_pictures(model: Any) -> None:
    """Let the picture's part of a detector run once for all sentences asked about it."""
    backbone = model.model.backbone
    if not isinstance(backbone.conv_encoder, _Remembering):
        backbone.conv_encoder = _Remembering(backbone.conv_encoder)
