"""Pictures of any type, made into what a transform reads."""

from collections.abc import Iterable
from pathlib import Path
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.images import stored_frame

Picture = str | Path | bytes | Image.Image | np.ndarray | Tensor
"""A file's name, the bytes of a file, a PIL picture, an array (rows, columns, colors) or a tensor (colors, rows,
columns). Numbers are 0 to 255 in uint8, or 0 to 1 in floating point. A name may be an https address where that is
allowed."""

MAX_BYTES = 64 * 2**20  # of a file behind an address
SIDEWAYS = (5, 6, 7, 8)  # what EXIF says of a picture that lies on its side
ORIENTATION = 0x0112
_SECONDS = 30  # without an answer
_SINGLE = (str, Path, bytes, Image.Image)


def check_many(pictures: Iterable[Picture]) -> Iterable[Picture]:
    """Return the pictures if they are several: one picture alone would be taken apart in silence.

    Raises:
        ValueError: If it is a single picture.
    """
    if isinstance(pictures, _SINGLE) or (isinstance(pictures, np.ndarray | Tensor) and pictures.ndim < 4):
        raise ValueError(f"Pictures come as a list, this is one {type(pictures).__name__}. Put it in brackets.")
    return pictures


def readable(picture: Picture, *, allow_urls: bool = False) -> Path | bytes | Image.Image:
    """Return a picture as `ImageTransform` takes it.

    Args:
        picture: See `Picture`.
        allow_urls: Fetch https addresses.

    Raises:
        ValueError: If it is an address and these are not allowed, it can't be fetched, or an array is no picture.
    """
    if isinstance(picture, Path | bytes | Image.Image):
        return picture
    if isinstance(picture, str):
        return _fetch(picture, allowed=allow_urls) if "://" in picture else Path(picture)
    if isinstance(picture, Tensor):
        return _from_array(picture.detach().cpu().movedim(0, -1) if picture.ndim == 3 else picture.detach().cpu())
    if isinstance(picture, np.ndarray):
        return _from_array(torch.from_numpy(np.array(picture)))
    raise ValueError(
        f"{type(picture).__name__} is no picture. Give a path, bytes, a PIL picture, an array or a tensor."
    )


def upright_size(picture: Path | bytes | Image.Image) -> tuple[int, int]:
    """Return width and height of a picture turned upright, from its header.

    Raises:
        ValueError: If it has no sound header.
    """
    if isinstance(picture, Image.Image):
        width, height, turn = *picture.size, picture.getexif().get(ORIENTATION, 1)
    else:
        width, height, turn = stored_frame(picture)
    return (height, width) if turn in SIDEWAYS else (width, height)


def _from_array(colors: Tensor) -> Image.Image:
    """Return a picture of an array of rows, columns and colors."""
    shape = tuple(colors.shape)
    if colors.ndim not in (2, 3) or 0 in shape or (colors.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise ValueError(
            f"An array of shape {shape} is no picture. Give rows, columns, 3 colors; a tensor begins with its colors."
        )
    if colors.is_floating_point():
        low, high = (end.item() for end in colors.aminmax())
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"A picture in floating point goes from {low:.3g} to {high:.3g}. Give 0 to 1, not normalized, or uint8."
            )
        colors = (colors.float() * 255).round().to(torch.uint8)
    if colors.dtype != torch.uint8:
        raise ValueError(f"A picture of {colors.dtype} has no known range. Give uint8, or floating point from 0 to 1.")
    values = colors.numpy()
    return Image.fromarray(values[:, :, 0] if values.ndim == 3 and shape[2] == 1 else values)


class _OnlyHttps(HTTPRedirectHandler):
    """Follows an address only to another https address."""

    def redirect_request(self, req: Request, fp: object, code: int, msg: str, headers: object, newurl: str) -> object:  # type: ignore[override]
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _fetch(address: str, *, allowed: bool) -> bytes:
    if not allowed:
        raise ValueError(f"{address} is an address, not a file. Pass allow_urls=True to fetch pictures from the web.")
    _check_address(address)
    try:
        with build_opener(_OnlyHttps).open(Request(address), timeout=_SECONDS) as answer:
            content: bytes = answer.read(MAX_BYTES + 1)
    except (URLError, OSError) as error:
        raise ValueError(f"{address} can't be fetched: {getattr(error, 'reason', error)}.") from error
    if len(content) > MAX_BYTES:
        raise ValueError(f"{address} is larger than {MAX_BYTES >> 20} MiB. Fetch and shrink it first.")
    return content


def _check_address(address: str) -> None:
    if not address.lower().startswith("https://"):
        raise ValueError(f"{address} is no https address. Give one, or a file.")
