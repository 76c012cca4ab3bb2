import pytest

from foveal.cli.photos import photos_and_names


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
