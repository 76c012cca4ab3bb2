"""Views for a model from encoded pictures, with the boxes that lie in them."""

import math
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from ..types import Box, PatchedPixels
from . import kinds, png
from .files import read_file

Mode = Literal["squash", "crop", "native"]
Resample = Literal["bicubic", "bilinear"]
Rounding = Literal["floor", "half_even"]
Units = Literal["fractions", "pixels"]
Triple = tuple[float, float, float]

CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
SIGLIP_MEAN: Triple = (0.5, 0.5, 0.5)
SIGLIP_STD: Triple = (0.5, 0.5, 0.5)
MAX_PIXELS = 89_478_485  # to decode: Pillow's own limit, beyond which it warns of a decompression bomb
# A JPEG that is decoded at a part of its size may hold more, so many times as many. A decoder of one scan keeps a few
# rows at a time; of several (progressive) it keeps 2 bytes for every number of the file, whatever comes out.
MAX_STORED = 16
MAX_STORED_IN_SCANS = 1.5

# Whatever Pillow's readers raise on broken bytes; it documents no narrower set.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, NotImplementedError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)
_ORIENTATION = 0x0112
_JPEG, _SCAN = b"\xff\xd8\xff", 0xDA  # how a JPEG begins, and the mark before its pixels
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # marks that say how pixels are coded
_SEQUENTIAL = (0xC0, 0xC1)
_BARE = frozenset(range(0xD0, 0xDA)) | {0xFF}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What a PNG holds somewhere if it speaks of turning. Pillow decodes the whole picture to find out.
_TURNING_PNG = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
_RESAMPLE = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
# Scaled decoding leaves at least this many pixels per pixel wanted, so that the resampling filter still has its say.
_SPARE = 1.5
# CLIP scales all and then cuts. Pillow orders its two passes by shape and rounds between them, so scaling the window
# alone differs by up to 5 levels; it is left for windows so small that all would be many times larger.
_WHOLE = 16
_STRIP = 1 << 20  # pixels that are converted at once where a whole picture would take too much memory


@dataclass(frozen=True)
class Augmentation:
    """Random changes while training. The defaults change nothing, as FG-CLIP and FineLIP do.

    Attributes:
        flip: Probability of a mirror image. Anything but 0 makes "left" and "right" in captions wrong.
        smallest_crop: Least share of the area that a random crop keeps. Its aspect is that of the whole.
    """

    flip: float = 0.0
    smallest_crop: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is a probability, not {self.flip}.")
        if not 0 < self.smallest_crop <= 1:
            raise ValueError(f"smallest_crop is a share of the area above 0 and up to 1, not {self.smallest_crop}.")


@dataclass(frozen=True, eq=False)
class View:
    """The part of one picture that a model sees, before normalization.

    Attributes:
        pixels: Rows, columns, colors.
        boxes: Each box given, in fractions of this view. None where too little of it is left.
    """

    pixels: UInt8[np.ndarray, "Y X 3"]
    boxes: tuple[Box | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageTransform:
    """Maker of views of pictures, and of pixels of views. The defaults are FG-CLIP's.

    Pictures are turned upright as their EXIF says; transparency is dropped; of 16 bits the upper 8 are kept; of
    several frames the first is. `docs/departures.md` says where published code does otherwise.

    Attributes:
        size: Side of the square that comes out, in pixels ("squash" and "crop").
        mode: "squash" (the whole picture, aspect lost: FG-CLIP), "crop" (the square in the middle: CLIP) or
            "native" (the whole picture, aspect kept, any size: NaFlex, arXiv:2502.14786, section 2.4.2).
        patch_size: Side of a patch, in pixels ("native").
        max_patches: Most patches of a picture ("native"). It is scaled up or down to come near it.
        buckets: Numbers of patches to choose from ("native"): a picture comes near the first that holds the patches
            it has at its own size, the last at most (FG-CLIP 2). Empty: every picture comes near `max_patches`.
        mean: Subtracted from colors between 0 and 1.
        std: Divides them then.
        resample: Filter of the scaling. SigLIP 2 has "bilinear".
        crop_rounding: Where the middle lies if half of what is cut off is no whole pixel ("crop"): "floor"
            (`transformers`) or "half_even" (torchvision's CenterCrop, as with OpenAI's code and open_clip).
        cut: Pixels cut off on the right and below where patches don't fill the square (SigLIP's 384 by 14: 6).
        scaled_decoding: Large JPEGs are decoded at a half, a quarter or an eighth of their size where that leaves
            more pixels than needed. Several times faster; colors differ by about one of 255 levels on average, by up
            to 20 at edges. JPEGs beyond `MAX_PIXELS` are read with it only.
        visible: A box is dropped where less than this share of its area lies in the view.
        augmentation: Random changes, made only where a call brings a source of randomness.
    """

    size: int = 224
    mode: Mode = "squash"
    patch_size: int = 16
    max_patches: int = 256
    buckets: tuple[int, ...] = ()
    mean: Triple = CLIP_MEAN
    std: Triple = CLIP_STD
    resample: Resample = "bicubic"
    crop_rounding: Rounding = "floor"
    cut: int = 0
    scaled_decoding: bool = True
    visible: float = 0.5
    augmentation: Augmentation = Augmentation()

    def __call__(
        self,
        image: Path | bytes | Image.Image,
        boxes: Sequence[Box] = (),
        rng: np.random.Generator | None = None,
        units: Units = "fractions",
    ) -> View:
        """Return the view of one picture.

        Args:
            image: A file, its bytes, or a picture already open.
            boxes: (x0, y0, x1, y1) in the upright picture.
            rng: Draws the augmentation. None: there is none (evaluation).
            units: What boxes are measured in.

        Raises:
            ValueError: If the picture is broken, truncated, empty, too large or of no known format, or a box is
                empty. The message names it.
        """
        with _named(image):
            picture = image if isinstance(image, Image.Image) else _open(image)
            turn = _orientation(picture)
        width, height = picture.size[::-1] if turn >= 5 else picture.size
        window, size = self._plan(width, height, rng)
        flip = rng is not None and rng.random() < self.augmentation.flip
        if units == "pixels":
            boxes = [(x0 / width, y0 / height, x1 / width, y1 / height) for x0, y0, x1, y1 in boxes]
        moved = tuple(_move(box, self._without_cut(window), flip, self.visible) for box in boxes)
        with _named(image):
            if picture is not image:
                if self.scaled_decoding:
                    _decode_smaller(picture, turn, window, size)
                _check_decoded(picture, scaled=self.scaled_decoding)
            rgb = _rgb(picture)
        rgb = rgb.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else rgb
        pixels = np.asarray(self._scale(rgb, window, size))
        pixels = pixels[: -self.cut, : -self.cut] if self.cut else pixels
        return View(pixels[:, ::-1] if flip else pixels, moved)

    def stack(self, views: Sequence[View]) -> Float[Tensor, "B 3 Y X"] | PatchedPixels:
        """Stack views into one normalized tensor, or into patches where pictures keep their aspect.

        Returns:
            A picture that is `mean` everywhere gives zeros.
        """
        if self.mode == "native":
            return self._patches(views)
        rows = torch.from_numpy(np.stack([view.pixels for view in views])).permute(0, 3, 1, 2)
        return self._normalize(torch.empty(rows.shape).copy_(rows), (3, 1, 1))

    def _plan(self, width: int, height: int, rng: np.random.Generator | None) -> tuple[Box, tuple[int, int]]:
        """Choose the visible part of a picture, in fractions, and its size in pixels, (columns, rows)."""
        across, down = 1.0, 1.0
        left, top = 0.0, 0.0
        if self.mode == "crop":
            short = min(width, height)
            # Whole pixels of the scaled picture, rounded down as by torchvision and transformers, so that all agree.
            columns, rows = int(self.size * width / short), int(self.size * height / short)
            across, down = self.size / columns, self.size / rows
            left, top = self._margin(columns) / columns, self._margin(rows) / rows
        if rng is not None and self.augmentation.smallest_crop < 1:
            side = math.sqrt(rng.uniform(self.augmentation.smallest_crop, 1))
            across, down = across * side, down * side
            left, top = rng.uniform(0, 1 - across), rng.uniform(0, 1 - down)
        size = (self.size, self.size)
        if self.mode == "native":
            patches = int(width // self.patch_size) * int(height // self.patch_size)
            most = next((most for most in self.buckets if most >= patches), max(self.buckets, default=self.max_patches))
            grid = fit_patches(width * across, height * down, most)
            size = (grid[1] * self.patch_size, grid[0] * self.patch_size)
        return (left, top, min(left + across, 1.0), min(top + down, 1.0)), size

    def _margin(self, side: int) -> int:
        """Return the pixels cut off at the beginning of a side of the scaled picture."""
        surplus = side - self.size
        return surplus // 2 if self.crop_rounding == "floor" else round(surplus / 2)  # Python rounds halves to even

    def _without_cut(self, window: Box) -> Box:
        """Return a window without what is cut off."""
        left, top, right, bottom = window
        share = 1 - self.cut / self.size
        return (left, top, left + share * (right - left), top + share * (bottom - top))

    def _scale(self, picture: Image.Image, window: Box, size: tuple[int, int]) -> Image.Image:
        """Scale a window of a picture to a size."""
        filtering = _RESAMPLE[self.resample]
        columns, rows = round(size[0] / (window[2] - window[0])), round(size[1] / (window[3] - window[1]))
        if self.mode == "crop" and columns * rows <= _WHOLE * size[0] * size[1]:
            left = min(round(window[0] * columns), columns - size[0])
            top = min(round(window[1] * rows), rows - size[1])
            whole = picture.resize((columns, rows), filtering)
            return whole.crop((left, top, left + size[0], top + size[1]))
        width, height = picture.size
        part = (window[0] * width, window[1] * height, window[2] * width, window[3] * height)
        return picture.resize(size, filtering, box=part)

    def _patches(self, views: Sequence[View]) -> PatchedPixels:
        side = self.patch_size
        grid = torch.tensor([[view.pixels.shape[0] // side, view.pixels.shape[1] // side] for view in views])
        counts = grid.prod(dim=1)
        longest = int(counts.max())
        values = torch.zeros(len(views), longest, side * side * 3)
        for row, view in zip(values, views, strict=True):
            blocks = torch.from_numpy(view.pixels.copy()).unflatten(1, (-1, side)).unflatten(0, (-1, side))
            patches = blocks.transpose(1, 2).reshape(-1, 3)  # (rows, columns, side, side, 3) flattened
            row[: len(patches) // side**2] = self._normalize(patches.float(), (3,)).view(-1, side * side * 3)
        return PatchedPixels(values, torch.arange(longest) < counts[:, None], grid)

    def _normalize(self, colors: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Normalize numbers from 0 to 255 in place; one multiplication and one addition each."""
        mean, std = torch.tensor(self.mean).view(shape), torch.tensor(self.std).view(shape)
        return colors.mul_(1 / (255 * std)).sub_(mean / std)


def open_upright(image: Path | bytes, longest_side: int) -> tuple[Image.Image, bool]:
    """Decode a whole picture to RGB, turned upright as its EXIF says, scaled down where it is larger than wanted.

    Args:
        image: A file, or its bytes.
        longest_side: In pixels. Smaller pictures keep their size.

    Returns:
        The picture, and whether its pixels are those of the file, neither turned nor scaled nor converted.

    Raises:
        ValueError: If the picture is broken, truncated, empty, too large or of no known format.
    """
    with _named(image):
        picture = _open(image)
        turn = _orientation(picture)
        size, mode = picture.size, picture.mode
        scale = min(1.0, longest_side / max(size))
        target = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        picture.draft(None, (math.ceil(_SPARE * target[0]), math.ceil(_SPARE * target[1])))
        _check_decoded(picture, scaled=True)
        rgb = _rgb(picture)
        rgb = rgb if rgb.size == target else rgb.resize(target, _RESAMPLE["bicubic"])
    rgb = rgb.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else rgb
    return rgb, target == size and mode == "RGB" and turn not in _UPRIGHT


def stored_size(image: Path | bytes) -> tuple[int, int]:
    """Return width and height of a picture as it is stored, from its header.

    Args:
        image: A file, or its bytes.

    Raises:
        ValueError: If it has no sound header, is too large or of no known format.
    """
    with _named(image):
        return _open(image).size


def stored_frame(image: Path | bytes) -> tuple[int, int, int]:
    """Return a picture's width and height as stored, and how EXIF says it is turned upright (1 to 8).

    Of a JPEG only the header is read. A PNG is decoded only where it may speak of turning.

    Args:
        image: A file, or its bytes.

    Raises:
        ValueError: If it is no picture.
    """
    with _named(image), BytesIO(image) if isinstance(image, bytes) else image.open("rb") as file:
        is_jpeg = file.read(len(_JPEG)) == _JPEG
        file.seek(0)
        content = b"" if is_jpeg else file.read()
        picture = JpegImageFile(file) if is_jpeg else _open(content)
        width, height = picture.size
        is_silent = picture.format == "PNG" and not any(mark in content for mark in _TURNING_PNG)
        turn = 1 if is_silent else _noted_turn(picture)
        return (height, width, turn) if turn >= 5 and _turns_itself(picture) else (width, height, turn)


def reduce_upright(picture: Image.Image, factor: int) -> Image.Image:
    """Return an open picture in RGB, turned upright as EXIF says and smaller by a whole factor, without its metadata.

    It is converted a few rows at a time, so that a large one takes little more than it does already.

    Args:
        picture: An open picture of any mode.
        factor: By which both sides are divided; what is left over makes one more pixel.

    Raises:
        ValueError: If its pixels are floating-point numbers.
    """
    turn, step = _orientation(picture), factor * max(1, _STRIP // (factor * picture.width))
    small = Image.new("RGB", (-(-picture.width // factor), -(-picture.height // factor)))
    for top in range(0, picture.height, step):
        strip = picture.crop((0, top, picture.width, min(top + step, picture.height)))
        small.paste(_rgb(strip).reduce(factor), (0, top // factor))
    return small.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else small


def fit_patches(width: float, height: float, most: int) -> tuple[int, int]:
    """Return rows and columns of square patches that cover a picture, at the largest scale with at most `most` patches.

    NaFlex (arXiv:2502.14786, section 2.4.2) as FG-CLIP 2 uses it: up or down, aspect kept up to the last patch,
    which is made whole. A search for the scale stops near it; here it is found where a side is whole.

    Args:
        width: In any unit.
        height: In the same unit.
        most: Patches allowed, at least one.

    Returns:
        (16, 16) for a square and 256 patches.
    """
    slack = 1e-9  # of a patch: sides that are whole but for rounding
    columns = bisect_right(range(1, most + 1), most, key=lambda n: n * math.ceil(n * height / width - slack))
    rows = bisect_right(range(1, most + 1), most, key=lambda n: n * math.ceil(n * width / height - slack))
    if columns * height >= rows * width:
        return max(1, math.ceil(columns * height / width - slack)), columns
    return rows, max(1, math.ceil(rows * width / height - slack))


@contextmanager
def _named(image: Path | bytes | Image.Image) -> Iterator[None]:
    """Name the picture in errors of reading it."""
    try:
        yield
    except _BROKEN as error:
        name = f"Picture {image}" if isinstance(image, Path) else "Picture"
        name += f" of {len(image)} bytes" if isinstance(image, bytes) else ""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
        raise ValueError(f"{name} cannot be read: {reason.rstrip('.')}. Replace it or leave it out.") from error


def _open(image: Path | bytes) -> Image.Image:
    """Read the header of a picture; its pixels are decoded later."""
    content = image if isinstance(image, bytes) else read_file(image)
    if not content:
        raise ValueError("it is empty")
    if content.startswith(_JPEG):  # `Image.open` refuses by size, before anyone can ask for a part of it
        picture: Image.Image = JpegImageFile(BytesIO(content))
        _check_stored(picture, most=int(MAX_PIXELS * (MAX_STORED if _is_one_scan(content) else MAX_STORED_IN_SCANS)))
        return picture
    try:
        picture = Image.open(BytesIO(png.lean(content)), formats=kinds.formats())
    except UnidentifiedImageError as error:
        raise ValueError(f"it is none of {', '.join(kinds.formats())}") from error
    _check_stored(picture, most=MAX_PIXELS)
    return picture


def _check_stored(picture: Image.Image, most: int) -> None:
    if picture.width * picture.height > most:
        raise ValueError(f"{picture.width} x {picture.height} pixels are more than {most}")


def _check_decoded(picture: Image.Image, *, scaled: bool) -> None:
    """Refuse what would take too much memory, once it is known at which size a picture will be decoded."""
    if picture.width * picture.height > MAX_PIXELS:
        way_out = "" if scaled else "; scaled_decoding=True (foveal eval --scaled-decoding) reads a part of them"
        raise ValueError(f"{picture.width} x {picture.height} pixels to decode are more than {MAX_PIXELS}{way_out}")


def _is_one_scan(content: bytes) -> bool:
    """True if a JPEG's colors come together in one pass over the picture, and plainly so."""
    place, colors = len(_JPEG) - 1, 0
    while content[place : place + 1] == b"\xff" and len(content) > place + 9:
        kind = content[place + 1]
        if kind == _SCAN:
            return content[place + 4] == colors
        if kind in _FRAMES:
            colors = content[place + 9] if kind in _SEQUENTIAL else 0
        elif kind < 0xC0 or kind in _BARE:
            return False  # marks without a length, which don't belong here
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return False


def _orientation(picture: Image.Image) -> int:
    """Return the turn that EXIF asks for once a picture is decoded."""
    return 1 if _turns_itself(picture) else _noted_turn(picture)


def _turns_itself(picture: Image.Image) -> bool:
    """True for TIFF, which Pillow turns upright when decoding; its size is the upright one from the start."""
    return picture.format == "TIFF"


def _noted_turn(picture: Image.Image) -> int:
    """Return the turn that EXIF notes; 1 if its block is broken, as the pixels may still be good."""
    try:
        turn = picture.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1
    return turn if turn in _UPRIGHT else 1


def _decode_smaller(picture: Image.Image, turn: int, window: Box, size: tuple[int, int]) -> None:
    """Ask the JPEG decoder for a half, a quarter or an eighth, where that is enough for a window of this size."""
    columns = math.ceil(_SPARE * size[0] / (window[2] - window[0]))
    rows = math.ceil(_SPARE * size[1] / (window[3] - window[1]))
    picture.draft(None, (rows, columns) if turn >= 5 else (columns, rows))


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert to eight bits of red, green and blue."""
    if picture.mode == "F":
        raise ValueError("its floating-point pixels have no known range, convert it to 8 bits")
    if picture.mode.startswith("I"):
        upper = np.asarray(picture).clip(0, 65535).astype(np.uint16) >> 8
        picture = Image.fromarray(upper.astype(np.uint8))
    elif picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # else Pillow warns of transparency that it drops
    return picture.convert("RGB")


def _move(box: Box, window: Box, flip: bool, visible: float) -> Box | None:
    """Move a box into a window, in fractions of it, cut at its edges. None if less than `visible` of it is left."""
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in box)
    if not (x0 < x1 and y0 < y1 and all(map(math.isfinite, box))):
        raise ValueError(f"Box {box} is empty; give (x0, y0, x1, y1) in fractions of the picture, x0 < x1, y0 < y1.")
    left, top, right, bottom = window
    a0, a1 = ((min(max(x, left), right) - left) / (right - left) for x in (x0, x1))
    b0, b1 = ((min(max(y, top), bottom) - top) / (bottom - top) for y in (y0, y1))
    area = (a1 - a0) * (right - left) * (b1 - b0) * (bottom - top)
    if area <= 0 or area < visible * (x1 - x0) * (y1 - y0):
        return None
    return (1 - a1, b0, 1 - a0, b1) if flip else (a0, b0, a1, b1)
