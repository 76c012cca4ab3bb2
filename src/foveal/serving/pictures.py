"""Pictures as they come over the wire: checked before they are decoded, decoded before they are believed."""

import base64
import binascii
import math
import struct
import time
import urllib.error
import urllib.request
import zlib
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from urllib.parse import urlsplit

from PIL import Image, UnidentifiedImageError

from ..data import kinds
from .errors import RefusedError
from .settings import Limits

# What browsers and cameras send. Pillow knows more, some of which start other programs or carry a history of bugs.
FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
OTHER_FORMATS = {"TIFF": "image/tiff", "PPM": "image/x-portable-pixmap"}  # encoded, but not shown by browsers
# Where what is installed reads them.
FORMATS |= {"AVIF": "image/avif"} if "AVIF" in kinds.formats() else {}
OTHER_FORMATS |= {"HEIF": "image/heif"} if "HEIF" in kinds.formats() else {}
FETCH_SECONDS = 10.0
_KEPT = 768  # a decoded picture is made smaller while it has this many pixels squared; models look at 512 at most
# Whatever Pillow's readers raise on broken bytes; it documents no narrower set.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, NotImplementedError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError),
)


def decode(content: bytes, limits: Limits) -> Image.Image:
    """A picture, whole and of bounded size.

    Large ones are made smaller by a whole factor, to no less than 768 pixels squared, so that what waits in the queue
    has a known size. EXIF orientation stays with the picture, for whoever reads it next.

    Args:
        content: The file.
        limits: Most pixels.

    Raises:
        RefusedError: 413 if it has too many pixels, 400 if it is no picture or a broken one.
    """
    if not content:
        raise RefusedError(400, "The picture is empty.")
    try:
        picture = Image.open(BytesIO(content), formats=[*FORMATS, *OTHER_FORMATS])
        width, height = picture.size
        if width * height <= limits.pixels:
            picture.draft(None, (_KEPT, _KEPT))  # a JPEG is decoded smaller at once, which takes less of everything
            picture.load()
            return _smaller(picture)
    except UnidentifiedImageError as error:
        known = ", ".join([*FORMATS, *OTHER_FORMATS])
        raise RefusedError(400, f"{len(content)} bytes are no picture that is known here ({known}).") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RefusedError(413, f"The picture has more than {limits.pixels} pixels. Make it smaller.") from error
    except _BROKEN as error:
        raise RefusedError(400, f"The picture is broken ({str(error) or type(error).__name__}).") from error
    raise RefusedError(413, f"{width} x {height} pixels are more than {limits.pixels}. Make the picture smaller.")


def _smaller(picture: Image.Image) -> Image.Image:
    factor = int(math.sqrt(picture.width * picture.height)) // _KEPT
    if factor < 2 or picture.mode not in ("RGB", "RGBA", "L", "LA"):
        return picture
    small = picture.reduce(factor)
    small.info.update(picture.info)  # holds EXIF
    return small


def from_base64(text: str, field: str) -> bytes:
    """The bytes of base64 text, or of a `data:` URL.

    Args:
        text: With or without "data:image/...;base64," before it.
        field: Where it stood, for the message.

    Raises:
        RefusedError: 400 if it is neither.
    """
    head, comma, rest = text.partition(",")
    if head.startswith("data:"):
        if not comma or not head.endswith(";base64"):
            raise RefusedError(400, f"{field} is a data URL without ';base64,'. Encode the picture in base64.")
        text = rest
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError(400, f"{field} is no base64: {error}.") from error


def from_url(url: str, hosts: tuple[str, ...], limits: Limits) -> bytes:
    """The bytes behind a `data:` URL, or behind an `http(s):` one where the operator allows its host.

    Redirections are refused: they lead where nobody allowed.

    Args:
        url: Of a picture.
        hosts: From which pictures may be fetched.
        limits: Most bytes.

    Raises:
        RefusedError: If it is no such URL, its host is not allowed, or nothing whole came from there in time.
    """
    if url.startswith("data:"):
        return from_base64(url, "The image URL")
    try:
        parts = urlsplit(url)
        host, inside = parts.netloc.lower(), parts.username is not None or not url.isprintable() or " " in url
    except ValueError as error:
        raise RefusedError(400, f"The image URL is none: {error}.") from error
    if parts.scheme not in ("http", "https") or not host or inside:
        raise RefusedError(400, "An image URL begins with 'data:', 'https://' or 'http://' and names no user.")
    if host not in hosts:
        raise RefusedError(403, f"Pictures are not fetched from {host}. Send the picture itself, as a data URL.")
    request = urllib.request.Request(url, headers={"User-Agent": "foveal", "Accept": "image/*"})
    try:
        with _opener().open(request, timeout=FETCH_SECONDS) as response:
            return _read(response, limits.bytes)
    except (OSError, HTTPException, ValueError) as error:
        reason = f"it answered {error.code}" if isinstance(error, urllib.error.HTTPError) else str(error)
        raise RefusedError(400, f"The picture could not be fetched from {host}: {reason}.") from error


def _opener() -> urllib.request.OpenerDirector:
    """Python's own, less what follows redirections and opens files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _read(response: HTTPResponse, most: int) -> bytes:
    """All of an answer, if it has no more bytes than allowed and comes in time."""
    content, until = bytearray(), time.monotonic() + FETCH_SECONDS
    while chunk := response.read(1 << 16):
        content += chunk
        if len(content) > most:
            raise ValueError(f"it has more than {most} bytes")
        if time.monotonic() > until:
            raise TimeoutError(f"it took more than {FETCH_SECONDS:g} s")
    return bytes(content)
