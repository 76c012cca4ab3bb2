"""OWLv2 and OWL-ViT as proposers: a box for every patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..data.images import CLIP_MEAN, CLIP_STD
from ..models.boxes import areas
from .hub import open_detector
from .proposals import Photo, Proposals, opened

_GRAY = (127, 127, 127)
_TOKENS = 16  # of a query


@dataclass(frozen=True)
class Owl:
    """OWLv2 (arXiv:2306.09683), whose objectness needs no words; or OWL-ViT, which has scores for names alone.

    Pictures are padded to a square on the right and below (OWL-ViT: squashed) and scaled to the model's size; boxes are
    told in fractions of the picture, without the padding.

    Attributes:
        name: On the hub, or a folder.
        words: Give scores for names, too. OWL-ViT always does.
        top: Boxes kept of a picture, those most likely to hold something.
        device: Where the model runs. None: on the GPU if there is one.
    """

    name: str = "google/owlv2-base-patch16-ensemble"
    words: bool = False
    top: int = 300
    device: str | None = None

    def propose(self, pictures: Sequence[Photo], names: Sequence[Sequence[str]]) -> list[Proposals]:
        """Return the boxes most likely to hold something.

        Raises:
            ValueError: If a picture is broken, or the detector is not there.
        """
        return [self._propose(opened(picture), words) for picture, words in zip(pictures, names, strict=True)]

    @torch.inference_mode()
    def _propose(self, picture: Image.Image, names: Sequence[str]) -> Proposals:
        model, tokenizer, device = open_detector(self.name, self.device)
        has_objectness = model.config.model_type == "owlv2"
        size = model.config.vision_config.image_size
        pixels = _pixels(picture, size, padded=has_objectness).to(device)
        if has_objectness and not (self.words and names):
            grid, _ = model.image_embedder(pixel_values=pixels)
            features = grid.flatten(1, 2)
            score = model.objectness_predictor(features)[0].sigmoid().cpu()
            return self._best(model.box_predictor(features, grid)[0].cpu(), score, None, picture, padded=True)
        output = model(pixel_values=pixels, **_queries(tokenizer, names, device))
        class_score = output.logits[0].sigmoid().cpu()
        score = output.objectness_logits[0].sigmoid().cpu() if has_objectness else class_score.amax(dim=1)
        return self._best(output.pred_boxes[0].cpu(), score, class_score, picture, padded=has_objectness)

    def _best(
        self, middle: Tensor, score: Tensor, class_score: Tensor | None, picture: Image.Image, *, padded: bool
    ) -> Proposals:
        boxes = corners(middle)
        if padded:
            side = max(picture.size)
            boxes = boxes * torch.tensor([side / picture.width, side / picture.height] * 2)
        boxes = boxes.clamp(0, 1)
        rows = (areas(boxes) > 0).nonzero()[:, 0]  # others lie in the padding
        best = rows[score[rows].argsort(descending=True, stable=True)[: self.top]]
        return Proposals(boxes, score, class_score).take(best)


def corners(boxes: Float[Tensor, "R 4"]) -> Float[Tensor, "R 4"]:
    """Return (x0, y0, x1, y1) of boxes told as middle and sides."""
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([middle - half, middle + half], dim=1)


def _pixels(picture: Image.Image, size: int, *, padded: bool) -> Float[Tensor, "1 3 Y X"]:
    if padded:
        square = Image.new("RGB", (max(picture.size),) * 2, _GRAY)
        square.paste(picture)
        picture = square
    scaled = picture.resize((size, size), Image.Resampling.BILINEAR if padded else Image.Resampling.BICUBIC)
    return normalized(scaled, CLIP_MEAN, CLIP_STD)


def normalized(
    picture: Image.Image, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Float[Tensor, "1 3 Y X"]:
    """Return a picture as normalized pixels."""
    colors = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    return ((colors - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[None]


def _queries(tokenizer: Any, names: Sequence[str], device: str) -> dict[str, Tensor]:
    length = {"padding": "max_length", "max_length": _TOKENS, "truncation": True}
    tokens = tokenizer(list(names), return_tensors="pt", **length)
    return {name: tokens[name].to(device) for name in ("input_ids", "attention_mask")}
