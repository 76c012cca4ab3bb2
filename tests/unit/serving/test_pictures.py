import base64
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from PIL import Image

from foveal.data import kinds
from foveal.serving.errors import RefusedError
from foveal.serving.pictures import decode, from_base64, from_url
from foveal.serving.settings import Limits

from .conftest import encoded

LIMITS = Limits(bytes=100_000, pixels=2_000_000)


def bomb(width, height):
    """A PNG of few bytes whose header promises many pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", kinds.formats())
def test_whatever_an_index_may_hold_is_read(kind):
    assert decode(encoded(kind), LIMITS).size == (40, 24)


def test_one_pixel_is_a_picture():
    assert decode(encoded(size=(1, 1)), LIMITS).size == (1, 1)


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe"]
)
def test_what_is_no_picture_is_refused(content):
    with pytest.raises(RefusedError) as refused:
        decode(content, LIMITS)
    assert refused.value.status == 400


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_picture_is_refused(kind):
    whole = encoded(kind, (400, 300))
    with pytest.raises(RefusedError) as refused:
        decode(whole[: len(whole) * 2 // 3], LIMITS)
    assert refused.value.status == 400


@pytest.mark.parametrize("size", [(2001, 1000), (10_000, 9_999), (60_000, 60_000)])
def test_bombs_are_refused_by_their_header_alone(size, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(RefusedError) as refused:
        decode(bomb(*size), LIMITS)
    assert refused.value.status == 413
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("size", [(1600, 1200), (20_000, 90)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_pictures_shrink_keep_their_shape_and_what_exif_says(kind, size):
    exif = Image.Exif()
    exif[0x0112] = 6
    small = decode(encoded(kind, size, exif=exif), LIMITS)
    assert small.width * small.height < (2 * 768) ** 2
    assert small.width / small.height == pytest.approx(size[0] / size[1], rel=0.02)
    assert small.getexif()[0x0112] == 6


def test_base64_with_and_without_a_data_url():
    text = base64.b64encode(b"content").decode()
    assert from_base64(text, "image") == from_base64(f"data:image/png;base64,{text}", "image") == b"content"


@pytest.mark.parametrize("text", ["not base64!", "data:image/png,abc", "data:;base64", "é"])
def test_broken_base64_is_refused(text):
    with pytest.raises(RefusedError, match="image"):
        from_base64(text, "image")


@pytest.fixture(scope="module")
def elsewhere():
    """A host with a picture, a redirection, an error and too much. Gives its name and what was asked of it."""
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = {"/picture.png": encoded(), "/large": bytes(LIMITS.bytes + 1)}.get(self.path, b"")
            self.send_response(302 if self.path == "/moved" else 200 if content else 404)
            if self.path == "/moved":
                self.send_header("Location", "/picture.png")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_pictures_come_from_allowed_hosts_alone(elsewhere):
    host, asked = elsewhere
    assert from_url(f"http://{host}/picture.png", (host,), LIMITS) == encoded()
    asked.clear()
    for hosts in ((), ("example.org",), (host.partition(":")[0],)):
        with pytest.raises(RefusedError) as refused:
            from_url(f"http://{host}/picture.png", hosts, LIMITS)
        assert refused.value.status == 403
    assert asked == []


def test_redirections_are_not_followed(elsewhere):
    host, asked = elsewhere
    asked.clear()
    with pytest.raises(RefusedError, match="302"):
        from_url(f"http://{host}/moved", (host,), LIMITS)
    assert asked == ["/moved"]


@pytest.mark.parametrize(("path", "reason"), [("/large", "more than 100000 bytes"), ("/gone", "404")])
def test_what_cannot_be_fetched_is_said(elsewhere, path, reason):
    host, _ = elsewhere
    with pytest.raises(RefusedError, match=reason):
        from_url(f"http://{host}{path}", (host,), LIMITS)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://h/a.png",
        "http://user@h/a.png",
        "http://h/a b",
        "http://h/\r\nx",
        "http://[::1",
        "x",
    ],
)
def test_other_urls_are_refused(url):
    with pytest.raises(RefusedError) as refused:
        from_url(url, ("h", "user@h", ""), LIMITS)
    assert refused.value.status == 400
