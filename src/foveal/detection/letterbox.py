"""Pictures in the top left corner of a square, as detectors read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from ..data.images import ImageTransform, View


@dataclass(frozen=True, eq=False)
class Letter:
    """A picture in a square.

    Attributes:
        pixels: Of the square, filled up with the mean color.
        width: Of the picture in it.
        height: Of the picture in it.
    """

    pixels: UInt8[np.ndarray, "Y Y 3"]
    width: int
    height: int


def letterboxed(picture: Image.Image, side: int, transform: ImageTransform) -> Letter:
    """Scale a picture so that its longest side fills a square, and fill up on the right and below.

    Args:
        picture: Upright.
        side: Of the square, in pixels.
        transform: Whose mean color fills the rest.
    """
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    return on_square(picture.resize((width, height), Image.Resampling.BICUBIC), side, transform)


def on_square(picture: Image.Image, side: int, transform: ImageTransform) -> Letter:
    """Put a picture that fits into the top left corner of a square."""
    mean = [round(255 * value) for value in transform.mean]
    pixels = np.full((side, side, 3), mean, dtype=np.uint8)
    pixels[: picture.height, : picture.width] = np.asarray(picture)
    return Letter(pixels, picture.width, picture.height)


def stacked(
    letters: Sequence[Letter], transform: ImageTransform
) -> tuple[Float[Tensor, "B 3 Y X"], Float[Tensor, "B 2"]]:
    """Return squares as normalized pixels, and the sizes of the pictures in them."""
    pixels = transform.stack([View(letter.pixels) for letter in letters])
    assert isinstance(pixels, Tensor)
    return pixels, torch.tensor([[letter.width, letter.height] for letter in letters], dtype=torch.float32)
