import pytest

from foveal.search.sources import Listing, check_source, id_of, original


def test_ids_are_letters_and_digits_of_one_length_and_stay():
    ids = {id_of(path) for path in ("a.jpg", "b/a.jpg", "ü.jpg", "a b'; drop.jpg")}
    assert len(ids) == 4
    assert all(len(own) == 24 and own.isalnum() for own in ids)
    assert id_of("a.jpg") == "ad868d18160c0a8424358591"


def test_a_folder_is_walked_in_one_order_without_hidden_files(tmp_path, fill):
    fill(tmp_path / "b", [2, 1])
    fill(tmp_path / "a" / "deep", [3])
    fill(tmp_path / ".hidden", [4])
    fill(tmp_path / "index" / "pictures.lance", [5])
    (tmp_path / ".jpg").write_text("hidden")
    (tmp_path / "notes.md").write_text("no picture")
    listing = Listing(str(tmp_path))
    assert [entry.path for entry in listing] == ["a/deep/003.jpg", "b/001.jpg", "b/002.jpg"]
    assert listing.passed_over == 2
    assert listing.whole


def test_a_name_that_is_no_text_is_told(tmp_path, fill):
    fill(tmp_path, [1])
    try:
        (tmp_path / "b\udce4r.jpg").write_bytes(b"")
    except OSError:
        pytest.skip("this file system has no such names")
    listing = Listing(str(tmp_path))
    assert [entry.path for entry in listing] == ["001.jpg"]
    assert listing.broken == {"b?r.jpg": "Its name is no UTF-8. Rename it."}


def test_an_original_lies_inside_its_folder(tmp_path, fill):
    fill(tmp_path / "photos", [1])
    (tmp_path / "secret.jpg").write_text("secret")
    assert original(str(tmp_path / "photos"), "001.jpg") == (tmp_path / "photos/001.jpg").resolve()
    with pytest.raises(ValueError, match="is gone"):
        original(str(tmp_path / "photos"), "../secret.jpg")


def test_a_source_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        check_source(str(tmp_path / "nowhere"))
    (tmp_path / "notes.md").write_text("no samples")
    with pytest.raises(ValueError, match="of no known kind"):
        check_source(str(tmp_path / "notes.md"))
    check_source(str(tmp_path))
