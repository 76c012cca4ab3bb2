import base64
import gc
import os
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveal.data import kinds
from foveal.serving import pictures
from foveal.serving.budget import Budget
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


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "SGI", "EPS", "PDF", "DDS", "ICNS"])
def test_formats_that_nobody_sends_are_not_opened(kind):
    with pytest.raises(RefusedError, match="no picture that is known here"):
        decode(encoded(kind, (32, 32)), LIMITS)


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
def test_large_pictures_shrink_stand_upright_and_keep_their_shape(kind, size):
    exif = Image.Exif()
    exif[0x0112] = 6
    small = decode(encoded(kind, size, exif=exif), LIMITS)
    assert small.width * small.height < (2 * 768) ** 2
    assert small.height / small.width == pytest.approx(size[0] / size[1], rel=0.02)


@given(st.integers(1, 50_000_000), st.integers(1, 50_000_000))
def test_a_picture_of_any_shape_is_held_in_nine_mebibytes_and_in_no_fewer_pixels_than_needed(width, height):
    height = max(1, min(height, 50_000_000 // width))
    factor = pictures._factor(width, height, None)
    assert 4 * pictures._pixels(width, height, factor) <= 9 * 2**20
    assert factor == 1 or pictures._pixels(width, height, factor) >= 768**2


def of_mode(mode, size):
    """A file of noise in this mode."""
    noise = Image.effect_noise(size, 60)
    if mode.startswith("I"):
        picture = Image.fromarray((np.asarray(noise).astype(np.uint16) << 8) + 77).convert(mode)
    else:
        picture = noise.convert(mode)
    content = BytesIO()
    picture.save(
        content,
        {"CMYK": "JPEG", "YCbCr": "JPEG", "F": "TIFF", "I": "TIFF"}.get(mode, "PNG"),
        quality=95,
        compress_level=1,
    )
    return content.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16"])
def test_pictures_of_every_mode_take_the_room_that_is_counted(mode):
    """Palette, 16-bit and CMYK pictures were held at their whole size, up to 200 MB each."""
    room = Budget(10**9)
    small = decode(of_mode(mode, (2000, 1300)), Limits(), room)
    assert small.mode == "RGB"
    assert small.size == (1000, 650)
    assert small.info == {}
    assert room.held == 4 * 1000 * 650
    assert room.held < 9 * 2**20
    del small
    gc.collect()
    assert room.held == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16"])
def test_a_converted_picture_looks_as_the_model_s_own_reader_sees_it(mode):
    from foveal.data.images import open_upright

    content = of_mode(mode, (90, 70))
    ours, theirs = decode(content, LIMITS), open_upright(content, 1000)[0]
    assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).max() <= 1


def test_a_picture_made_smaller_a_few_rows_at_a_time_is_the_same(monkeypatch):
    from foveal.data import images

    content = of_mode("P", (2001, 1303))
    at_once = decode(content, Limits())
    assert at_once.size == (1001, 652)
    monkeypatch.setattr(images, "_STRIP", 5_000)
    assert decode(content, Limits()).tobytes() == at_once.tobytes()


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="this system does not tell how much memory is held")
def test_memory_of_a_large_picture_goes_back_to_the_system():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    content = BytesIO()
    Image.new("RGBA", (7000, 4000)).save(content, "PNG", compress_level=1)
    decode(content.getvalue(), Limits())  # imports what it needs
    before = resident()
    with ThreadPoolExecutor(3) as threads:  # each of which has an arena of its own, which the C library keeps
        assert all(threads.map(lambda _: decode(content.getvalue(), Limits()), range(6)))
    assert resident() - before < 4 * 7000 * 4000


def test_floating_point_pixels_are_refused():
    with pytest.raises(RefusedError, match="convert it to 8 bits") as refused:
        decode(of_mode("F", (30, 20)), LIMITS)
    assert refused.value.status == 400


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_kept_and_nothing_else(kind):
    content = BytesIO()
    frames = [Image.new("RGB", (60, 40), color) for color in ("red", "green", "blue")]
    frames[0].save(content, kind, save_all=True, append_images=frames[1:])
    room = Budget(10**9)
    picture = decode(content.getvalue(), LIMITS, room)
    assert picture.getpixel((5, 5))[0] > 200
    assert type(picture) is Image.Image
    assert room.held == 4 * 60 * 40


@pytest.mark.parametrize("content", [b"", b"nonsense", encoded("PNG", (400, 300))[:300], bomb(10_000, 9_999)])
def test_what_is_refused_holds_no_room(content):
    room = Budget(10**9)
    with pytest.raises(RefusedError):
        decode(content, LIMITS, room)
    assert room.held == 0


def test_room_that_is_taken_refuses_for_now_and_room_that_will_never_do_for_good():
    content = encoded("PNG", (100, 100))
    room = Budget(3 * 4 * 100 * 100)
    assert decode(content, LIMITS, room)  # gone at once
    first = decode(content, LIMITS, room)
    with pytest.raises(RefusedError) as refused:
        decode(content, LIMITS, room)
    assert (refused.value.status, refused.value.retry_after) == (429, 1)
    assert first.size == (100, 100)
    with pytest.raises(RefusedError) as refused:
        decode(content, LIMITS, Budget(100_000))
    assert refused.value.status == 413


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


def drips(parts, address=("127.0.0.1", 0)):
    """A host that sends these parts, one every 50 ms, for ever again and again the last. Gives its name."""
    server = socket.create_server(address)

    def answer():
        connection, _ = server.accept()
        with server, connection:
            connection.recv(1000)
            try:
                for part in chain(parts, repeat(parts[-1])):
                    connection.sendall(part)
                    time.sleep(0.05)
            except OSError:
                return

    threading.Thread(target=answer, daemon=True).start()
    return f"127.0.0.1:{server.getsockname()[1]}"


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [OK + b"Content-Length: 90000\r\n\r\n", b"x"],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"],
        [OK + b"\r\n", b"x"],
        [b"HTTP/1.1 200 O", b"K"],
        [OK, b"X", b"-", b"Y: "],
        [OK, b"X: y\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n"],
        [b""],
    ],
    ids=["body", "chunks", "no length", "status", "header", "headers", "continue", "silence"],
)
def test_a_host_that_trickles_has_one_end_of_time_for_all(monkeypatch, parts):
    """The clock was looked at once per 64 KiB, which a host that sends a byte a second reaches in hours."""
    monkeypatch.setattr(pictures, "FETCH_SECONDS", 0.4)
    host = drips(parts)
    start = time.monotonic()
    with pytest.raises(RefusedError, match="could not be fetched") as refused:
        from_url(f"http://{host}/x.png", (host,), LIMITS)
    assert refused.value.status == 400
    assert time.monotonic() - start < 5
    fetching = [thread for thread in threading.enumerate() if thread.name == "foveal-fetch"]
    for thread in fetching:
        thread.join(5)
        assert not thread.is_alive()


def test_a_host_that_is_looked_for_too_long_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(pictures, "FETCH_SECONDS", 0.3)
    looked_for = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [looked_for.wait(20)][1:])
    with pytest.raises(RefusedError, match=r"slow\.example: it took"):
        from_url("http://slow.example/x.png", ("slow.example",), LIMITS)
    looked_for.set()


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
