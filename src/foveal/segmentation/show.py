"""Label maps as pictures: labels with a palette, and laid over the photo."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..data.images import open_upright
from ..outside import printable
from ..types import Segmentation

LONGEST_SIDE = 1280  # pixels of an overlay
_SHARE = 0.55  # of the labels' color in an overlay
_LINE = 1.6  # times the font's size


def palette(count: int) -> UInt8[np.ndarray, "N 3"]:
    """Return colors that are far apart, black first: Pascal VOC's, whose bits spread over red, green and blue."""
    numbers = np.arange(count)
    colors = np.zeros((count, 3), dtype=np.uint8)
    for place in range(7, -1, -1):
        for channel in range(3):
            colors[:, channel] |= (((numbers >> channel) & 1) << place).astype(np.uint8)
        numbers >>= 3
    return colors


def labels_picture(segmentation: Segmentation) -> Image.Image:
    """Return labels as a picture: 0 for background, 1 for the first name; with a palette, or in 16 bits beyond 255."""
    numbers = segmentation.labels.numpy() + 1
    if len(segmentation.names) > 255:
        return Image.fromarray(numbers.astype(np.uint16))
    picture = Image.fromarray(numbers.astype(np.uint8)).convert("P")
    picture.putpalette(palette(256).tobytes())
    return picture


def confidence_picture(segmentation: Segmentation) -> Image.Image:
    """Return confidences as a gray picture: white is sure."""
    return Image.fromarray((segmentation.confidence * 255).round().byte().numpy())


def as_table(paths: Sequence[Path], segmentations: Sequence[Segmentation]) -> str:
    """Return a line for every name that a photo shows: photo, share of its pixels, name, mean confidence."""
    lines = []
    for path, segmentation in zip(paths, segmentations, strict=True):
        for label in _by_area(segmentation.labels):
            pixels = segmentation.labels == label
            share, sure = 100 * float(pixels.float().mean()), float(segmentation.confidence[pixels].mean())
            lines.append(f"{printable(path.name)}  {share:5.1f} %  {printable(segmentation.names[label])}  {sure:.2f}")
    return "\n".join(lines)


def overlay(picture: Path | bytes | Image.Image, segmentation: Segmentation) -> Image.Image:
    """Return the photo with its labels' colors laid over it, and a legend of the names that it shows."""
    photo = picture.convert("RGB") if isinstance(picture, Image.Image) else open_upright(picture, LONGEST_SIDE)[0]
    numbers = segmentation.labels.numpy() + 1
    colors = palette(len(segmentation.names) + 1)
    shade = Image.fromarray(colors[numbers]).resize(photo.size, Image.Resampling.NEAREST)
    labelled = Image.fromarray(((numbers > 0) * round(255 * _SHARE)).astype(np.uint8)).resize(photo.size)
    return _with_legend(Image.composite(shade, photo, labelled), segmentation, colors)


def _with_legend(picture: Image.Image, segmentation: Segmentation, colors: UInt8[np.ndarray, "N 3"]) -> Image.Image:
    size = max(11, max(picture.size) // 48)
    font, pen = ImageFont.load_default(size=size), ImageDraw.Draw(picture)
    for row, label in enumerate(_by_area(segmentation.labels)):
        top = row * size * _LINE
        color: tuple[int, ...] = tuple(colors[label + 1].tolist())
        text = segmentation.names[label]
        pen.rectangle((0, top, pen.textlength(text, font=font) + size, top + size * _LINE), fill=color)
        pen.text((size / 2, top + size / 5), text, fill="white" if sum(color) < 384 else "black", font=font)
    return picture


def _by_area(labels: Tensor) -> list[int]:
    """Return the labels that occur, the largest first."""
    numbers, counts = labels[labels >= 0].unique(return_counts=True)
    return [int(number) for number in numbers[counts.argsort(descending=True)]]
