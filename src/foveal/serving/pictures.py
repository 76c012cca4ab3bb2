"""Pictures from the wire: checked before they are decoded, decoded before they are believed."""

import base64
import binascii
import ctypes
import math
import socket
import struct
import time
import urllib.error
import urllib.request
import weakref
import zlib
from concurrent.futures import Future
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from PIL import Image, UnidentifiedImageError

from ..data import kinds
from .budget import Budget
from .errors import RefusedError
from .settings import Limits

# What browsers and cameras send. Pillow knows more, some of which start other programs or carry a history of bugs.
FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
OTHER_FORMATS = {"TIFF": "image/tiff", "PPM": "image/x-portable-pixmap"}  # encoded, but not shown by browsers
# Where what is installed reads them.
FORMATS |= {"AVIF": "image/avif"} if "AVIF" in kinds.formats() else {}
OTHER_FORMATS |= {"HEIF": "image/heif"} if "HEIF" in kinds.formats() else {}
FETCH_SECONDS = 10.0
_WORKING_SIDE = 768  # pixels squared, beyond which a decoded picture is made smaller; models look at 512 at most
_TRIMMED = 32 << 20  # bytes of a decoder, beyond which freed memory goes back to the system
_BYTES = 4  # that Pillow takes for a pixel in red, green and blue; its decoders take no more than that again
# Whatever Pillow's readers raise on broken bytes; it documents no narrower set.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, NotImplementedError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError),
)


def decode(
    content: Path | bytes, limits: Limits, room: Budget | None = None, longest_side: int | None = None
) -> Image.Image:
    """Return a picture, whole, upright, in eight bits of red, green and blue, and of bounded size.

    Large ones are made smaller by a whole factor, so that what waits in the queue has a known size. Nothing else of
    the file is kept. The picture takes its bytes from the room, and gives them back when it is gone.

    Args:
        content: A file, or its bytes.
        limits: Most pixels.
        room: For decoded pictures, of all requests. None: for this one alone.
        longest_side: Keep at least so many pixels of it. None: keep at least 768 pixels squared.

    Raises:
        RefusedError: 413 if it has too many pixels, 400 if it is no picture or a broken one, 429 if there is no room.
    """
    if not content:
        raise RefusedError(400, "The picture is empty.")
    try:
        file = BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(file, formats=[*FORMATS, *OTHER_FORMATS]) as picture:
            width, height = picture.size
            if width * height <= limits.pixels:
                side = longest_side or _WORKING_SIDE
                picture.draft(None, (side, side))  # a JPEG is decoded smaller at once, which takes less of everything
                return _loaded(picture, width * height, room or Budget(limits.picture_bytes), longest_side)
    except UnidentifiedImageError as error:
        formats = ", ".join([*FORMATS, *OTHER_FORMATS])
        raise RefusedError(400, f"This is no picture that is known here ({formats}).") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RefusedError(413, f"The picture has more than {limits.pixels} pixels. Make it smaller.") from error
    except _BROKEN as error:
        raise RefusedError(400, f"The picture is broken ({str(error) or type(error).__name__}).") from error
    raise RefusedError(413, f"{width} x {height} pixels are more than {limits.pixels}. Make the picture smaller.")


def _loaded(picture: Image.Image, stored: int, room: Budget, longest_side: int | None) -> Image.Image:
    """Return the pixels of an open picture, if there is room for them and for what decoding takes meanwhile."""
    from ..data.images import reduce_upright  # brings torch

    width, height = picture.size
    factor = _factor(width, height, longest_side)
    result_bytes, decoder_bytes = _BYTES * _pixels(width, height, factor), 2 * _BYTES * stored
    if result_bytes + decoder_bytes > room.most:
        raise RefusedError(
            413, f"{width} x {height} pixels take more than {room.most} bytes. Make the picture smaller."
        )
    if not room.take(result_bytes + decoder_bytes):
        raise RefusedError(429, "Too many pictures are held for other requests. Try again in 1 s.", 1)
    try:
        picture.load()
        small = reduce_upright(picture, factor)
    except BaseException:
        room.give_back(result_bytes)
        raise
    finally:
        picture.close()
        if decoder_bytes > _TRIMMED:
            _give_back_memory()
        room.give_back(decoder_bytes)
    weakref.finalize(small, room.give_back, result_bytes)
    return small


def _factor(width: int, height: int, longest_side: int | None) -> int:
    """Return by what to divide the sides of a picture, so that it keeps as many pixels as it has to, and few more."""
    if longest_side is not None:
        return max(1, max(width, height) // longest_side)
    factor = max(1, math.isqrt(width * height) // _WORKING_SIDE)
    while _pixels(width, height, factor) >= (2 * _WORKING_SIDE) ** 2:  # a side of one pixel gets no smaller
        factor += 1
    return factor


def _pixels(width: int, height: int, factor: int) -> int:
    return -(-width // factor) * -(-height // factor)


def _give_back_memory() -> None:
    """Let the system have what was freed, which the C library else keeps for the next large picture."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


def from_base64(text: str, field: str) -> bytes:
    """Return the bytes of base64 text, or of a `data:` URL.

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
    """Return the bytes behind a `data:` URL, or behind an `http(s):` one where the operator allows its host.

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
    answer: Future[bytes] = Future()
    until = time.monotonic() + FETCH_SECONDS
    Thread(target=_settle, args=(answer, url, limits.bytes, until), name="foveal-fetch", daemon=True).start()
    try:
        return answer.result(FETCH_SECONDS)
    except TimeoutError as error:
        raise RefusedError(
            400, f"The picture could not be fetched from {host}: it took {FETCH_SECONDS:g} s."
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        raise RefusedError(400, f"The picture could not be fetched from {host}: {error}.") from error


def _settle(answer: "Future[bytes]", url: str, most: int, until: float) -> None:
    """Fetch in a thread of its own: a search for a host cannot be stopped, but need not be waited for."""
    request = urllib.request.Request(url, headers={"User-Agent": "foveal", "Accept": "image/*"})
    try:
        with _opener(until).open(request, timeout=FETCH_SECONDS) as response:
            content = response.read(most + 1)
        if len(content) > most:
            raise ValueError(f"it has more than {most} bytes")
        answer.set_result(content)
    except urllib.error.HTTPError as error:
        error.close()
        answer.set_exception(ValueError(f"it answered {error.code}"))
    except (OSError, HTTPException, ValueError) as error:
        answer.set_exception(error)


def _opener(until: float) -> urllib.request.OpenerDirector:
    """Build Python's opener without redirections and files, and with one end of time for all it reads."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(until),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _Http(urllib.request.AbstractHTTPHandler):
    """HTTP and HTTPS, with one end of time for the whole answer: head and body, however they trickle."""

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(self, until: float) -> None:
        super().__init__()
        self._until = until

    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(self._connection, HTTPConnection), request)

    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(self._connection, HTTPSConnection), request)

    def _connection(self, kind: type[HTTPConnection], host: str, **options: Any) -> HTTPConnection:
        connection = kind(host, **options)
        connection.response_class = partial(_TimedResponse, self._until)  # type: ignore[assignment]
        return connection


class _TimedResponse(HTTPResponse):
    def __init__(self, until: float, connection: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(connection, *args, **options)
        self.fp.close()
        self.fp = BufferedReader(_Timed(connection, until))


class _Timed(RawIOBase):
    """Bytes that a connection receives, until time is up."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        super().__init__()
        self._file, self._connection, self._until = connection.makefile("rb", 0), connection, until

    def readable(self) -> bool:
        return True

    def readinto(self, place: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._file.readinto(place)

    def close(self) -> None:
        self._file.close()
        super().close()
