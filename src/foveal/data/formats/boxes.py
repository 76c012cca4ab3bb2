"""Boxes as annotators leave them: of four sound numbers or not, over the edge, drawn before a photo was turned."""

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...types import Box
from .fields import shown

Ends = tuple[float, float, float, float]
Size = tuple[float | int, float | int]
LEAST = 0.5
"""The least share of a box that lies in the image. Of less, nobody knows whether its phrase still fits."""
SAME_ASPECT = 0.03
"""How far two aspects may differ (in the logarithm) and count as one: sizes of scaled pictures are rounded."""


@dataclass(frozen=True)
class Frame:
    """The picture that boxes in pixels were drawn in.

    Attributes:
        width: In pixels.
        height: In pixels.
        turn: What EXIF says has still to be done with it, 1 to 8; 1 if it stands upright.
    """

    width: float | int
    height: float | int
    turn: int = 1

    def box(self, values: Any, least: float = LEAST) -> Box:
        """Return [x, y, width, height] in pixels as a box in fractions of the upright picture, cut at its edges.

        Args:
            values: Four numbers.
            least: The least share of the box that lies in the picture. 0 takes any box, those without area too.

        Raises:
            ValueError: If these are not four numbers, have no area, or lie outside the picture.
        """
        x, y, wide, high = _numbers(values, "x, y, width, height")
        ends = (x / self.width, y / self.height, (x + wide) / self.width, (y + high) / self.height)
        box = turned(_cut(ends, least, values), self.turn)
        if least and not (box[0] < box[2] and box[1] < box[3]):  # a hair's breadth is lost in turning
            raise ValueError(f"box without area: {shown(values)}")
        return box


def frame_of(image: Path | bytes, width: Any, height: Any) -> Frame:
    """Return the frame that boxes were drawn in: the picture as stored, or as EXIF turns it upright.

    Which of the two, the annotators' width and height say. Only the header of the picture is read. A picture that
    is not there, or broken, is taken to stand upright: nobody will see its boxes.

    Args:
        image: The picture.
        width: In pixels, as annotators noted it. None, or no number above zero: unknown.
        height: Likewise.

    Raises:
        ValueError: If it cannot be told: the picture is turned, and the sizes are not known, fit both frames
            (EXIF 2, 3 and 4 and squares) or neither; or it is not turned, and its width is their height.
    """
    from ..images import stored_frame  # this brings torch, which listing does not need

    noted = (float(width), float(height)) if _is_size(width) and _is_size(height) else None
    try:
        if isinstance(image, Path) and not image.is_file():
            raise ValueError(f"there is no file {image}")
        columns, rows, turn = stored_frame(image)
    except (OSError, ValueError) as error:
        if noted is None:
            raise ValueError(f"no width and height are given, and the picture cannot be read: {error}") from error
        return Frame(*noted)
    if noted is None and turn == 1:
        return Frame(columns, rows)
    if noted is None:
        raise ValueError(f"the photo is turned (EXIF {turn}), and no width and height say which way boxes lie")
    fits_stored, fits_turned = _fits(noted, (columns, rows)), _fits(noted, (rows, columns))
    sizes = f"{noted[0]:g} x {noted[1]:g} are noted, {columns} x {rows} stored"
    if turn == 1:
        if fits_turned and not fits_stored:
            raise ValueError(f"the photo was turned after its boxes were drawn: {sizes}")
        return Frame(*noted)
    if turn >= 5 and fits_stored != fits_turned:
        return Frame(*noted, turn if fits_stored else 1)
    raise ValueError(f"the photo is turned (EXIF {turn}), and its sizes do not say which way boxes lie: {sizes}")


def turned(box: Box, turn: int) -> Box:
    """Return a box in fractions of a stored picture as one in fractions of the upright picture.

    Args:
        box: (x0, y0, x1, y1).
        turn: EXIF's orientation, 1 to 8; 1 returns the box as it is.
    """
    x0, y0, x1, y1 = box
    if turn >= 5:  # mirrored along the diagonal first; what remains is a mirror of the upright picture
        x0, y0, x1, y1 = y0, x0, y1, x1
    if turn in (2, 3, 6, 7):
        x0, x1 = 1 - x1, 1 - x0
    if turn in (3, 4, 7, 8):
        y0, y1 = 1 - y1, 1 - y0
    return x0, y0, x1, y1


def checked_box(values: Any) -> Box:
    """Return four numbers as a box in fractions of the image, cut at its edges.

    Raises:
        ValueError: If they are no box, have no area, or lie outside the image.
    """
    ends = _numbers(values, "x0, y0, x1, y1")
    return _cut(ends, LEAST, values, "; fractions of it are wanted, not pixels")


def _cut(ends: Ends, least: float, values: Any, hint: str = "") -> Box:
    """Cut a box at the edges of the image."""
    x0, y0, x1, y1 = ends
    a0, b0, a1, b1 = (min(max(end, 0.0), 1.0) for end in ends)
    if least and not (x0 < x1 and y0 < y1):
        raise ValueError(f"box without area: {shown(values)}")
    if least and max(a1 - a0, 0.0) * max(b1 - b0, 0.0) < least * (x1 - x0) * (y1 - y0):
        raise ValueError(f"box outside the image: {shown(values)}{hint}")
    if least and not (a0 < a1 and b0 < b1):
        raise ValueError(f"box without area: {shown(values)}")
    return a0, b0, a1, b1


def _numbers(values: Any, names: str) -> Ends:
    """Return four values as finite numbers."""
    if isinstance(values, list | tuple) and not any(isinstance(value, bool) for value in values):
        with suppress(TypeError, ValueError, OverflowError):  # said below
            first, second, third, fourth = map(float, values)
            if all(map(math.isfinite, (first, second, third, fourth))):
                return first, second, third, fourth
    raise ValueError(f"box that is not four numbers ({names}): {shown(values)}")


def _is_size(value: Any) -> bool:
    """True for a number of pixels."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def _fits(noted: Size, size: Size) -> bool:
    """True if a noted size is that of a picture, or has its aspect and is not exactly its mirror image."""
    if noted in (size, size[::-1]):
        return noted == size
    return abs(math.log(noted[0] * size[1] / (noted[1] * size[0]))) < SAME_ASPECT
