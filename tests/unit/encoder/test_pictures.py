"""Pictures of every kind look the same to a model."""

import io
from email.message import Message
from urllib.request import Request

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.encoder import pictures
from foveal.encoder.pictures import _OnlyHttps, check_many, readable

COLORS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def png():
    content = io.BytesIO()
    Image.fromarray(COLORS).save(content, "PNG")
    return content.getvalue()


def seen(picture, **options):
    found = readable(picture, **options)
    if not isinstance(found, Image.Image):
        found = Image.open(found if not isinstance(found, bytes) else io.BytesIO(found))
    return np.asarray(found)


def test_every_kind_of_picture_shows_the_same(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    tensor = torch.from_numpy(COLORS).permute(2, 0, 1)
    kinds = [tmp_path / "a.png", str(tmp_path / "a.png"), png(), Image.fromarray(COLORS), COLORS, tensor]
    kinds += [tensor.float() / 255, tensor.double() / 255, COLORS.astype(np.float32) / 255]
    for kind in kinds:
        assert np.array_equal(seen(kind), COLORS)


def test_gray_and_transparent_arrays_are_pictures_too():
    gray = COLORS[:, :, 0]
    for kind in (gray, gray[:, :, None], torch.from_numpy(gray), torch.from_numpy(gray)[None]):
        assert np.array_equal(seen(kind), gray)
    assert seen(np.dstack([COLORS, gray])).shape == (24, 40, 4)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (torch.randn(3, 8, 8), "goes from -[0-9.]+ to [0-9.]+. Give 0 to 1, not normalized"),
        (torch.full((3, 8, 8), float("nan")), "goes from nan to nan"),
        (COLORS.astype(np.int64), "picture of torch.int64 has no known range"),
        (np.zeros((3, 8, 8), dtype=np.uint8), r"shape \(3, 8, 8\) is no picture"),
        (np.zeros((0, 8, 3), dtype=np.uint8), r"shape \(0, 8, 3\) is no picture"),
        (torch.zeros(7), r"shape \(7,\) is no picture"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(picture, said):
    with pytest.raises(ValueError, match=said):
        readable(picture)


@pytest.mark.usefixtures("unchecked")
def test_other_things_are_no_pictures():
    with pytest.raises(ValueError, match="int is no picture"):
        readable(3)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("one", ["a.png", b"bytes", COLORS, torch.zeros(3, 8, 8), Image.new("RGB", (2, 2))])
def test_one_picture_is_not_several(one):
    with pytest.raises(ValueError, match="Pictures come as a list, this is one"):
        check_many(one)


class Answer(io.BytesIO):
    """What an address gives."""


@pytest.fixture
def web(monkeypatch):
    """A web of one picture; what was opened is listed."""
    opened = []

    class Opener:
        def open(self, request, timeout):
            opened.append(request.full_url)
            return Answer(png())

    monkeypatch.setattr(pictures, "build_opener", lambda *handlers: Opener())
    return opened


def test_addresses_are_fetched_only_where_allowed(web):
    with pytest.raises(ValueError, match="is an address, not a file"):
        readable("https://example.org/a.png")
    for address in ("http://example.org/a.png", "file:///etc/passwd", "ftp://example.org/a.png"):
        with pytest.raises(ValueError, match="is no https address"):
            readable(address, allow_urls=True)
    assert web == []
    assert np.array_equal(seen("https://example.org/a.png", allow_urls=True), COLORS)
    assert web == ["https://example.org/a.png"]


def test_too_large_answers_are_refused(web, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", len(png()) - 1)
    with pytest.raises(ValueError, match="is larger than"):
        readable("https://example.org/a.png", allow_urls=True)


def test_an_address_may_lead_to_another_of_its_kind_only():
    request, headers = Request("https://example.org/a.png"), Message()
    for address in ("http://example.org/b.png", "file:///etc/passwd"):
        with pytest.raises(ValueError, match="is no https address"):
            _OnlyHttps().redirect_request(request, io.BytesIO(), 302, "Found", headers, address)
    new = _OnlyHttps().redirect_request(request, io.BytesIO(), 302, "Found", headers, "https://example.org/b.png")
    assert new.full_url == "https://example.org/b.png"
