from io import BytesIO

import pytest
from PIL import Image

from foveal.data import kinds
from foveal.data.images import open_upright

WRITERS = {
    ".jpg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".ppm": "PPM",
    ".avif": "AVIF",
}


def encoded(kind, mode="RGB"):
    content = BytesIO()
    Image.new(mode, (16, 16), 200 if mode in ("L", "1") else (200, 30, 30)).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(("suffix", "writer"), WRITERS.items())
def test_a_picture_is_known_by_its_beginning_and_can_be_opened(suffix, writer):
    if suffix not in kinds.SUFFIXES:
        pytest.skip(f"this Pillow does not read {suffix}")
    assert kinds.suffix(encoded(writer)) == suffix
    assert open_upright(encoded(writer), 16)[0].size == (16, 16)


def test_gray_and_black_and_white_portable_maps_are_known():
    assert {kinds.suffix(encoded("PPM", mode)) for mode in ("L", "1", "RGB")} == {".ppm"}


def test_other_bytes_are_refused_by_their_beginning():
    for data in (b"", b"GIF90a", b"<svg>", b"\0\0\0\x18ftypqt  ", b"\0\0\0\x18ftypisom\0\0\2\0mp42"):
        with pytest.raises(ValueError, match="is none of JPEG, PNG"):
            kinds.suffix(data)


def test_a_suffix_is_read_or_not_and_never_both():
    assert not set(kinds.SUFFIXES) & set(kinds.UNREAD)
    assert len(set(kinds.SUFFIXES)) == len(kinds.SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in (*kinds.SUFFIXES, *kinds.UNREAD))


def test_heic_is_read_where_its_package_is_and_named_where_not():
    heic = {".heic", ".heif", ".hif"}
    if "HEIF" not in kinds.formats():
        assert heic <= set(kinds.UNREAD)
        assert kinds.UNREAD[".heic"] == "install pillow-heif"
        return
    assert heic <= set(kinds.SUFFIXES)
    content = encoded("HEIF")
    assert kinds.suffix(content) == ".heic"
    assert open_upright(content, 16)[0].size == (16, 16)
