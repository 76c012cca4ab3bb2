import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from foveal import locking
from foveal.locking import try_lock


def test_one_opening_of_a_file_holds_its_lock_until_it_is_closed(tmp_path):
    with (tmp_path / "lock").open("a") as first, (tmp_path / "lock").open("a") as second:
        assert try_lock(first)
        assert not try_lock(second)
        assert not try_lock(second, shared=True)
        first.close()
        assert try_lock(second)


def test_a_shared_lock_is_held_by_many_and_keeps_others_out(tmp_path):
    (tmp_path / "lock").touch()
    with (
        (tmp_path / "lock").open() as first,
        (tmp_path / "lock").open() as second,
        (tmp_path / "lock").open("a") as one,
    ):
        assert try_lock(first, shared=True)
        assert try_lock(second, shared=True)
        assert not try_lock(one)


def test_a_lock_goes_with_its_process(tmp_path):
    code = f"from foveal.locking import try_lock; print(try_lock(open({str(tmp_path / 'lock')!r}, 'a')))"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "True\n"


@pytest.fixture
def windows(monkeypatch):
    """The module as Windows has it, over a stub of `msvcrt` that remembers what is locked."""
    stub = ModuleType("msvcrt")
    stub.LK_NBLCK, stub.LK_UNLCK, stub.held = 1, 2, {}

    def locking_call(number, mode, count):
        place = stub.held
        if mode == stub.LK_UNLCK:
            del place["byte"]
        elif "byte" in place:
            raise PermissionError
        else:
            place["byte"] = count

    stub.locking = locking_call
    monkeypatch.setitem(sys.modules, "msvcrt", stub)
    monkeypatch.setattr(sys, "platform", "win32")
    yield importlib.reload(locking)
    monkeypatch.undo()
    importlib.reload(locking)


def test_windows_locks_one_byte_and_leaves_the_file_where_it_was(windows, tmp_path):
    with (tmp_path / "lock").open("w+") as file:
        file.write("note")
        assert windows.try_lock(file)
        assert file.tell() == 4
        assert not windows.try_lock(file, shared=True)
    assert (tmp_path / "lock").read_text() == "note"
