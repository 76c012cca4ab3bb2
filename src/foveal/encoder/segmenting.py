"""What every pixel shows: views of a picture, their similarities laid side by side, and the best name of each pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from ..data.images import ImageTransform, open_upright
from ..models.dense_maps import Attention
from .prompts import check_names

NONE = -1
"""The label of background."""
_NUMBERS = 2**22  # of an upsampled block of similarities: 16 MiB
_LONGEST = 1 << 14  # pixels of a picture's longest side


class Placed(NamedTuple):
    """Similarities of a view's cells to all queries, and the view's place on the canvas: top, left, height, width."""

    similarity: Float[Tensor, "_y _x Q"]
    place: tuple[int, int, int, int]


class Window(NamedTuple):
    """A view's pixels, and its place on the canvas: top, left, height, width."""

    pixels: UInt8[np.ndarray, "Y X 3"]
    place: tuple[int, int, int, int]


@dataclass(frozen=True)
class Segmenting:
    """The way from a picture to labels.

    Attributes:
        attention: How the last block of the image tower is read, see `models.dense_maps`.
        short: Shorter side that the picture is scaled to, in pixels, aspect kept. None: the picture as the model sees
            it (squashed to its square, or at its native aspect).
        window: Side of square windows that are seen one by one, in pixels. None: all at once.
        stride: From window to window. None: half a window.
        scale: Inverse temperature of the softmax over names, for confidences. None: the model's own.
        threshold: Pixels of less confidence are background.
    """

    attention: Attention = "model"
    short: int | None = None
    window: int | None = None
    stride: int | None = None
    scale: float | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.window is not None and (self.short or 0) < self.window:
            raise ValueError(f"window is {self.window} pixels, short {self.short}. Give a short that holds a window.")

    def views(
        self, picture: Path | bytes | Image.Image, transform: ImageTransform
    ) -> tuple[list[Window], tuple[int, int]]:
        """Return views of one size of a picture, and rows and columns of the canvas that they lie on.

        Raises:
            ValueError: If the picture is broken.
        """
        if self.short is None:
            pixels = transform(picture).pixels
            return [Window(pixels, (0, 0, *pixels.shape[:2]))], pixels.shape[:2]
        patch = transform.patch_size
        pixels = np.asarray(_scaled(picture, self.short, patch))
        rows, columns = pixels.shape[:2]
        if self.window is None:
            return [Window(pixels, (0, 0, rows, columns))], (rows, columns)
        side = self.window // patch * patch
        step = self.stride or side // 2
        return [
            Window(pixels[top : top + side, left : left + side], (top, left, side, side))
            for top in _starts(rows, side, step)
            for left in _starts(columns, side, step)
        ], (rows, columns)


PLAINLY = Segmenting()
"""The picture as the model sees it, its dense features as they were trained."""


def _scaled(picture: Path | bytes | Image.Image, short: int, patch: int) -> Image.Image:
    """Return a picture whose shorter side is so long, both sides rounded to whole patches."""
    if isinstance(picture, Image.Image):
        rgb = ImageOps.exif_transpose(picture).convert("RGB")
    else:
        rgb = open_upright(picture, _LONGEST)[0]
    scale = short / min(rgb.size)
    width, height = (max(patch, round(side * scale / patch) * patch) for side in rgb.size)
    return rgb.resize((width, height), Image.Resampling.BICUBIC)


def _starts(length: int, side: int, step: int) -> list[int]:
    """Return where windows begin so that all is covered, the last one at the end."""
    return sorted({*range(0, max(1, length - side), step), max(0, length - side)})


def queries_of(names: Sequence[str], background: Sequence[str]) -> tuple[list[str], Int[Tensor, " Q"]]:
    """Return all words that are asked for, and the name that each stands for: "dog|puppy" is two, of one name.

    Raises:
        ValueError: If there is no name, or a word is empty or comes twice.
    """
    check_names(names)
    words = [(word, number) for number, name in enumerate(names) for word in name.split("|")]
    words += [(word, NONE) for name in background for word in name.split("|")]
    check_names([word for word, _ in words])
    return [word for word, _ in words], torch.tensor([number for _, number in words])


def best_queries(
    views: Sequence[Placed], canvas: tuple[int, int], size: tuple[int, int], scale: float
) -> tuple[Int[Tensor, "Y X"], Float[Tensor, "Y X"]]:
    """Return the best query of every pixel, and its probability among all.

    Similarities, not features, are upsampled: to the view, where overlapping views are averaged, and then to the
    picture. A few queries are upsampled at once, and the best one and the softmax's denominator carried along, so
    that memory does not grow with their number.

    Args:
        views: That cover the canvas.
        canvas: Rows and columns that views lie on.
        size: Width and height of the picture.
        scale: Inverse temperature of the softmax over queries.
    """
    best: Tensor | None = None
    greatest = denominator = torch.zeros(0)
    step = max(1, _NUMBERS // max(canvas[0] * canvas[1], size[0] * size[1]))
    for start in range(0, views[0].similarity.shape[-1], step):
        block = [view._replace(similarity=view.similarity[..., start : start + step]) for view in views]
        logits = scale * _upsampled(block, canvas, size)
        value, query = logits.max(dim=0)
        mass = logits.logsumexp(dim=0)
        if best is None:
            best, greatest, denominator = query, value, mass
        else:
            best = torch.where(value > greatest, query + start, best)
            greatest, denominator = torch.maximum(greatest, value), torch.logaddexp(denominator, mass)
    assert best is not None
    return best, (greatest - denominator).exp().clamp(max=1)


def _upsampled(views: Sequence[Placed], canvas: tuple[int, int], size: tuple[int, int]) -> Float[Tensor, "_q Y X"]:
    total = torch.zeros(views[0].similarity.shape[-1], *canvas)
    count = torch.zeros(canvas)
    for similarity, (top, left, height, width) in views:
        total[:, top : top + height, left : left + width] += _resized(similarity.permute(2, 0, 1), (height, width))
        count[top : top + height, left : left + width] += 1
    return _resized(total.div_(count), size[::-1])


def _resized(maps: Float[Tensor, "_q _y _x"], size: tuple[int, ...]) -> Float[Tensor, "_q Y X"]:
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
