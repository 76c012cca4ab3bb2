import os
import socket
from pathlib import Path

import pytest

from foveal.data.files import OutsideError, read_file


def test_a_regular_file_is_read_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert read_file(tmp_path / "a") == b"abc" * 100_000


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="a named pipe, no regular file"):
        read_file(tmp_path / "a.jpg")


def test_devices_sockets_and_folders_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.jpg")
        for name, kind in (("zero", "a device"), ("folder", "a folder"), ("socket", "a socket")):
            with pytest.raises(ValueError, match=f"It is {kind}, no regular file"):
                read_file(tmp_path / f"{name}.jpg")


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="1099511627776 bytes, more than 536870912"):
        read_file(tmp_path / "sparse.jpg")
    (tmp_path / "a").write_bytes(b"1234")
    assert read_file(tmp_path / "a", most=4) == b"1234"
    with pytest.raises(ValueError, match="4 bytes, more than 3"):
        read_file(tmp_path / "a", most=3)


def test_a_file_of_no_stated_size_is_refused():
    """Files of /proc say that they are regular and empty, and some of them never end."""
    with pytest.raises(ValueError, match="grown beyond 0 bytes"):
        read_file(Path("/proc/self/status"))


def test_a_file_may_lie_inside_by_way_of_links_but_not_outside(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    (tmp_path / "in/link").symlink_to("../in/a")
    (tmp_path / "in/out").symlink_to(tmp_path / "secret")
    (tmp_path / "in/up").symlink_to("..")
    (tmp_path / "source").symlink_to("in")
    assert read_file(tmp_path / "in/link", inside=tmp_path / "source") == b"inside"
    assert read_file(tmp_path / "in/out") == b"outside"
    for name in ("out", "../secret", "up/secret"):
        with pytest.raises(OutsideError, match="leads out of"):
            read_file(tmp_path / "in" / name, inside=tmp_path / "in")


def test_a_dangling_link_and_a_loop_are_errors_of_the_system(tmp_path):
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("gone", "loop"):
        with pytest.raises(OSError, match=name):
            read_file(tmp_path / name)
