"""The kinds of pictures that are read: suffixes, first bytes and Pillow's names.

The one list for folders, tars, tables and writing. Pillow knows more kinds, some of which start other programs (EPS)
or carry a history of bugs (JPEG 2000); these are named as pictures that are not read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from PIL import features


@dataclass(frozen=True)
class Kind:
    """One kind of picture.

    Attributes:
        name: Pillow's name of it.
        suffixes: Of its files, in lower case; the first is written.
        begins: What its bytes match at their beginning.
    """

    name: str
    suffixes: tuple[str, ...]
    begins: re.Pattern[bytes]


_HEIF = Kind("HEIF", (".heic", ".heif", ".hif"), re.compile(rb".{4}ftyp.{0,60}?(hei[cxms]|hevc|mif1|msf1)", re.DOTALL))
_AVIF = Kind("AVIF", (".avif",), re.compile(rb".{4}ftyp(.{4}){0,15}?avi[fs]", re.DOTALL))
_ALWAYS = (
    Kind("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), re.compile(rb"\xff\xd8\xff")),
    Kind("PNG", (".png", ".apng"), re.compile(rb"\x89PNG\r\n\x1a\n")),
    Kind("WEBP", (".webp",), re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    Kind("GIF", (".gif",), re.compile(rb"GIF8[79]a")),
    Kind("BMP", (".bmp", ".dib"), re.compile(rb"BM")),
    Kind("TIFF", (".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]")),
    Kind("PPM", (".ppm", ".pgm", ".pbm", ".pnm"), re.compile(rb"P[1-6]\s")),
)
_HAS_AVIF = "avif" in features.modules and features.check("avif")
_HAS_HEIF = find_spec("pillow_heif") is not None

KINDS = (*_ALWAYS, *((_AVIF,) if _HAS_AVIF else ()), *((_HEIF,) if _HAS_HEIF else ()))
"""What is read here and now: AVIF needs Pillow 11.3, HEIC and HEIF need the package pillow-heif."""

SUFFIXES = tuple(suffix for kind in KINDS for suffix in kind.suffixes)
"""How files of pictures end, in lower case, the usual ones first."""

_CONVERT = "convert to JPEG"
_FRAMES = "take frames out of them"
_RAW = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mrw", ".nef", ".nrw", ".orf"),
    *(".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
_GRAPHICS = (
    *(".eps", ".exr", ".hdr", ".ico", ".j2c", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl", ".jxr", ".pcx", ".pfm", ".psd"),
    *(".qoi", ".svg", ".svgz", ".tga", ".xcf"),
)
_VIDEO = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".webm"),
    ".wmv",
)
UNREAD: Mapping[str, str] = {
    **dict.fromkeys(_RAW + _GRAPHICS, _CONVERT),
    **dict.fromkeys(_VIDEO, _FRAMES),
    **({} if _HAS_AVIF else dict.fromkeys(_AVIF.suffixes, "install pillow>=11.3")),
    **({} if _HAS_HEIF else dict.fromkeys(_HEIF.suffixes, "install pillow-heif")),
}
"""How files of pictures and videos end that are not read, and what to do about each."""

UNREAD_PHOTOS = frozenset(UNREAD) & {*_RAW, *_HEIF.suffixes, *_AVIF.suffixes, ".jxl"}
"""Those that cameras and phones write."""


def suffix(data: bytes) -> str:
    """Return the file suffix that fits encoded bytes, by how they begin.

    Returns:
        ".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".ppm", ".avif" or ".heic".

    Raises:
        ValueError: If the bytes are of no kind that is read.
    """
    kind = next((kind for kind in KINDS if kind.begins.match(data)), None)
    if kind is None:
        names = ", ".join(kind.name for kind in KINDS)
        raise ValueError(f"Picture that begins with {data[:8]!r} is none of {names}. Convert it first.")
    return kind.suffixes[0]


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the kinds that are read, each ready to be opened."""
    if _HAS_HEIF:
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(kind.name for kind in KINDS)
