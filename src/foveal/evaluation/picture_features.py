"""Features by which sets of pictures are compared, by name."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..data.images import open_upright
from ..encoder import Encoder
from ..types import PatchedPixels

KINDS = "foveal:MODEL, dinov2:FOLDER or onnx:FILE"
_BATCH = 32
_INCEPTION = 299


@dataclass(frozen=True)
class PictureFeatures:
    """What gives features of pictures.

    Attributes:
        name: Short, for the metric's name.
        model: What computes them, as the user named it.
        compute: Gives a row per picture.
    """

    name: str
    model: str
    compute: Callable[[Sequence[Path | bytes]], Float[Tensor, "N D"]]


def picture_features(spec: str, load: Callable[[str], Encoder]) -> PictureFeatures:
    """Return the features of a name.

    Args:
        spec: "foveal:MODEL": its whole-picture embeddings before they get unit length, as FineLIP's code has of CLIP
            B/32. "dinov2:FOLDER": the normed class token of a DINOv2 of `transformers`. "onnx:FILE": a network's first
            output for pictures of 299 pixels, float32 from 0 to 1, such as an exported Inception.
        load: Opens a model by name.

    Raises:
        ValueError: If the kind is unknown.
    """
    kind, _, model = spec.partition(":")
    makers: dict[str, Callable[[str], Any]] = {
        "foveal": lambda name: _of_encoder(load(name)),
        "dinov2": _of_dinov2,
        "onnx": _of_onnx,
    }
    if kind not in makers or not model:
        raise ValueError(f"There are no features '{spec}'. Give {KINDS}.")
    return PictureFeatures(f"{kind}-{Path(model).stem}", model, makers[kind](model))


def _of_encoder(encoder: Encoder) -> Callable[[Sequence[Path | bytes]], Tensor]:
    @torch.inference_mode()
    def compute(pictures: Sequence[Path | bytes]) -> Tensor:
        rows = []
        for batch in _batches(pictures):
            pixels = _on(encoder.transform.stack([encoder.transform(picture) for picture in batch]), encoder.device)
            pooled = encoder.model.vision(pixels, dense=False).pooled
            rows.append(encoder.model.image_projection(pooled).float().cpu())
        return torch.cat(rows)

    return compute


def _of_dinov2(folder: str) -> Callable[[Sequence[Path | bytes]], Tensor]:
    from transformers import AutoConfig, Dinov2Model

    if AutoConfig.from_pretrained(folder).model_type != "dinov2":
        raise ValueError(f"{folder} is no DINOv2 of transformers.")
    opener: Any = Dinov2Model.from_pretrained
    model = opener(folder).eval()
    side = model.config.image_size
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    @torch.inference_mode()
    def compute(pictures: Sequence[Path | bytes]) -> Tensor:
        rows = []
        for batch in _batches(pictures):
            pixels = torch.stack([(_colors(picture, side) - mean) / std for picture in batch])
            rows.append(model(pixel_values=pixels).pooler_output)
        return torch.cat(rows)

    return compute


def _of_onnx(file: str) -> Callable[[Sequence[Path | bytes]], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name

    def compute(pictures: Sequence[Path | bytes]) -> Tensor:
        rows = []
        for batch in _batches(pictures):
            pixels = torch.stack([_colors(picture, _INCEPTION) for picture in batch]).numpy()
            rows.append(torch.from_numpy(session.run(None, {entry: pixels})[0]).flatten(1))
        return torch.cat(rows)

    return compute


def _on(pixels: Tensor | PatchedPixels, device: torch.device) -> Tensor | PatchedPixels:
    if isinstance(pixels, Tensor):
        return pixels.to(device)
    return PatchedPixels(pixels.values.to(device), pixels.mask.to(device), pixels.grid.to(device))


def _batches(pictures: Sequence[Path | bytes]) -> Iterator[Sequence[Path | bytes]]:
    for start in range(0, len(pictures), _BATCH):
        yield pictures[start : start + _BATCH]


def _colors(picture: Path | bytes, side: int) -> Float[Tensor, "3 Y X"]:
    """Return a picture scaled to a square, colors from 0 to 1."""
    opened, _ = open_upright(picture, 1 << 15)
    values = np.asarray(opened.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), np.float32)
    return torch.from_numpy(values / 255).permute(2, 0, 1).contiguous()
