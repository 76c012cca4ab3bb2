import os
import stat

import pytest

from foveal.writing import flush, new_place, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_appears_when_it_is_whole_and_takes_the_place_of_the_old_one(tmp_path, durable):
    path = tmp_path / "new" / "a.txt"
    for text in ("old", "new"):
        with replacing(path, durable=durable) as partial:
            partial.write_text(text)
            assert partial.parent == path.parent
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
        assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_folder_appears_when_it_is_whole(tmp_path, durable):
    path = tmp_path / "model"
    path.mkdir()  # an empty one is none
    with replacing(path, durable=durable) as partial:
        (partial / "inside").mkdir(parents=True)
        (partial / "inside" / "a.txt").write_text("a")
        assert names(path) == []
    assert (path / "inside" / "a.txt").read_text() == "a"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_failed_leaves_what_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(is_folder):
        with replacing(path) as partial:
            if is_folder:
                partial.mkdir()
                (partial / "half").write_text("ha")
            else:
                partial.write_text("ha")
            raise error

    for is_folder in (False, True):
        with pytest.raises(error):
            fail(is_folder)
        assert path.read_text() == "old"
        assert names(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_no_part_of_what_follows(tmp_path):
    path = tmp_path / "model"
    with replacing(path) as partial:
        left = partial
        partial.mkdir()
    left.mkdir()
    (left / "stale").write_text("stale")
    path.rmdir()
    with replacing(path) as partial:
        assert not partial.exists()
        partial.mkdir()
        (partial / "fresh").write_text("fresh")
    assert names(path) == ["fresh"]


def test_a_folder_that_holds_something_is_kept(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")

    def write():
        with replacing(tmp_path / "model") as partial:
            partial.mkdir()

    with pytest.raises(OSError, match="not empty"):
        write()
    assert names(tmp_path / "model") == ["mine"]
    assert names(tmp_path) == ["model"]


def test_a_new_place_takes_nothings_place(tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("model", "model.pt"):
        with new_place(tmp_path / name) as partial:
            partial.write_text("new") if name.endswith("pt") else (partial / "inside").mkdir(parents=True)
        with pytest.raises(ValueError, match=f"{name} is in use. Choose another name"), new_place(tmp_path / name):
            pass
    assert names(tmp_path) == ["model", "model.pt"]
    assert names(tmp_path / "model") == ["inside"]


def test_processes_that_write_the_same_have_names_of_their_own(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path, shared=True) as mine, replacing(path) as theirs:
        assert mine != theirs
        assert str(os.getpid()) in mine.name
        mine.write_text("mine")
        theirs.write_text("theirs")
    assert path.read_text() == "mine"
    assert names(tmp_path) == ["a.txt"]


def test_all_that_lies_in_a_durable_folder_is_flushed_before_it_appears(tmp_path, monkeypatch):
    flushed = []

    def fsync(descriptor):
        is_there = (tmp_path / "model").exists()
        flushed.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), is_there))

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(tmp_path / "model", durable=True) as partial:
        partial.mkdir()
        for name in "ab":
            (partial / name).write_text(name)
        assert flushed == []
    assert flushed == [(False, False), (False, False), (True, False), (True, True)]
    with replacing(tmp_path / "b") as partial:
        partial.write_text("b")
    assert len(flushed) == 4


def test_a_file_that_is_not_there_cannot_be_flushed(tmp_path):
    with pytest.raises(FileNotFoundError):
        flush(tmp_path / "none")
