from pathlib import Path

import pytest
from PIL import Image

from foveal.cli.photos import photos_and_names, write_pictures


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "notes.txt", "dog"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_what_is_there_is_a_photo_and_all_else_a_name(folder, monkeypatch):
    monkeypatch.chdir(folder)
    photos, names = photos_and_names(["a red mug", "b.jpg", "what is this?", "*.PNG"])
    assert [path.name for path in photos] == ["b.jpg", "a.PNG"]
    assert names == ["a red mug", "what is this?"]


def test_a_folder_stands_for_its_pictures(folder):
    photos, names = photos_and_names([str(folder), "cat"])
    assert [path.name for path in photos] == ["a.PNG", "b.jpg"]
    assert names == ["cat"]


def test_a_name_of_a_file_is_given_as_a_text(folder, monkeypatch):
    monkeypatch.chdir(folder)
    photos, names = photos_and_names(["b.jpg", "cat"], ["dog"])
    assert [path.name for path in photos] == ["b.jpg"]
    assert names == ["cat", "dog"]


def test_a_photo_that_is_not_there_is_no_name(folder):
    with pytest.raises(ValueError, match=r"There is no photo gone\.jpg\. If it is a name, give it with --text"):
        photos_and_names([str(folder / "b.jpg"), "gone.jpg"])


def test_photos_of_one_name_lose_no_picture(tmp_path):
    photos = [Path(name) for name in ("a/1.jpg", "b/1.jpg", "1-2.jpg", "c/1.png")]
    write_pictures(tmp_path / "drawn", photos, (Image.new("L", (1, 1), number) for number in range(4)))
    values = {path.name: Image.open(path).getpixel((0, 0)) for path in (tmp_path / "drawn").iterdir()}
    assert values == {"1.png": 0, "1-2.png": 1, "1-2-2.png": 2, "1-3.png": 3}


def test_a_picture_of_one_photo_is_the_file_that_was_named(tmp_path):
    write_pictures(tmp_path / "one.png", [Path("a.jpg")], [Image.new("L", (1, 1))])
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]
