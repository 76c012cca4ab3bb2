import json
import os

import pytest

from foveal.data.formats import WebDataset
from foveal.data.formats.folder import OUTSIDE
from foveal.data.formats.source import with_columns
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
    others = {"hidden files": 1, "hidden folders": 1, ".lance folders": 1, ".md": 1}
    assert listing.passed_over == others
    assert listing.whole


def test_a_name_that_is_no_text_is_told(tmp_path, fill):
    fill(tmp_path, [1])
    try:
        (tmp_path / "b\udce4r.jpg").write_bytes(b"")
    except OSError:
        pytest.skip("this file system has no such names")
    listing = Listing(str(tmp_path))
    assert [entry.path for entry in listing] == ["001.jpg"]
    assert listing.broken == {"b\\xe4r.jpg": "Its name is no UTF-8. Rename it."}


def test_an_original_lies_inside_its_folder(tmp_path, fill):
    fill(tmp_path / "photos", [1])
    (tmp_path / "secret.jpg").write_text("secret")
    assert original(str(tmp_path / "photos"), "001.jpg") == (tmp_path / "photos/001.jpg").resolve()
    with pytest.raises(ValueError, match="is gone"):
        original(str(tmp_path / "photos"), "../secret.jpg")


def test_an_original_outside_its_folder_is_given_out_only_where_that_was_asked_for(tmp_path, fill):
    fill(tmp_path / "disk", [1])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/2021").symlink_to("../disk")
    source = str(tmp_path / "photos")
    assert [entry.path for entry in Listing(source, outside=True)] == ["2021/001.jpg"]
    with pytest.raises(ValueError, match="is gone"):
        original(source, "2021/001.jpg")
    assert original(source, "2021/001.jpg", outside=True) == tmp_path / "disk/001.jpg"


def test_a_picture_that_has_become_a_link_out_of_the_folder_is_not_read(tmp_path, fill):
    """Between listing and reading, another process may put a link to a secret there."""
    fill(tmp_path / "photos", [1])
    (entry,) = Listing(str(tmp_path / "photos"))
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "photos/001.jpg").unlink()
    (tmp_path / "photos/001.jpg").symlink_to("../secret")
    with pytest.raises(ValueError, match="leads out"):
        entry.read()


def table(tmp_path, fill, *places):
    """A JSONL file of pictures at some places, beside pictures inside and outside of its folder."""
    fill(tmp_path / "data/photos", [1])
    fill(tmp_path / "elsewhere", [2])
    (tmp_path / "data/link").symlink_to("../elsewhere")
    rows = [{"id": str(number), "image": str(place)} for number, place in enumerate(places)]
    path = tmp_path / "data/a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("place", ["../elsewhere/002.jpg", "link/002.jpg", "photos/../../elsewhere/002.jpg"])
def test_a_relative_path_that_climbs_out_is_not_indexed_unless_that_is_asked_for(tmp_path, fill, place):
    source = table(tmp_path, fill, "photos/001.jpg", place)
    listing = Listing(source)
    assert [entry.path for entry in listing] == ["0"]
    assert listing.broken == {"sample 1": OUTSIDE}
    assert listing.whole
    with pytest.raises(ValueError, match="is gone"):
        original(source, "1")
    asked = Listing(source, outside=True)
    assert [entry.path for entry in asked] == ["0", "1"]
    assert original(source, "1", outside=True) == (tmp_path / "elsewhere/002.jpg").read_bytes()


def test_a_picture_that_a_table_names_by_its_absolute_path_is_indexed_and_withheld(tmp_path, fill):
    source = table(tmp_path, fill, tmp_path / "data/photos/001.jpg", tmp_path / "elsewhere/002.jpg")
    listing = Listing(source)
    assert [len(entry.read().data) > 0 for entry in listing] == [True, True]
    assert (listing.withheld, listing.broken) == (1, {})
    assert original(source, "0") == (tmp_path / "data/photos/001.jpg").read_bytes()
    with pytest.raises(ValueError, match=r"lies outside .*--outside"):
        original(source, "1")
    assert original(source, "1", outside=True) == (tmp_path / "elsewhere/002.jpg").read_bytes()


def test_an_odd_file_of_a_table_is_refused_without_being_read(tmp_path, fill):
    source = table(tmp_path, fill, "photos/pipe.jpg", "/dev/zero")
    os.mkfifo(tmp_path / "data/photos/pipe.jpg")
    for entry, kind in zip(Listing(source), ("a named pipe", "a device"), strict=True):
        with pytest.raises(ValueError, match=kind):
            entry.read()


def test_the_text_beside_a_picture_is_its_caption_and_one_that_is_none_is_noted(tmp_path, fill):
    fill(tmp_path, [1, 2, 3])
    (tmp_path / "001.txt").write_text("a cat\nIt sits on a sofa.")
    (tmp_path / "002.txt").write_bytes(b"stra\xdfe")
    first, second, third = (entry.read() for entry in Listing(str(tmp_path)))
    assert (first.caption, second.caption, third.caption) == ("It sits on a sofa.", "", "")
    assert (first.notes, third.notes) == ((), ())
    assert "002.txt: not UTF-8" in second.notes[0]


def test_what_lies_beside_and_in_shards_is_counted(tmp_path, jpeg):
    for name in ("a.tar", "deep/b.tar"):
        WebDataset(tmp_path / name).write([])
    (tmp_path / "a_stats.json").write_text("{}")
    (tmp_path / "deep/00000.parquet").write_text("")
    listing = Listing(str(tmp_path))
    assert list(listing) == []
    assert listing.passed_over == {".json": 1, ".parquet": 1}


def test_a_source_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        check_source(str(tmp_path / "nowhere"))
    (tmp_path / "notes.md").write_text("no samples")
    with pytest.raises(ValueError, match="of no known kind"):
        check_source(str(tmp_path / "notes.md"))
    check_source(str(tmp_path))


def test_annotations_of_no_image_are_counted_and_photos_beside_the_annotations_are_given_out(tmp_path, fill):
    fill(tmp_path / "val2017", [1])
    images = [{"id": 1, "file_name": "001.jpg", "width": 8, "height": 8}]
    said = [{"image_id": number, "caption": f"photo {number}"} for number in (1, 2, 3)]
    path = tmp_path / "annotations" / "captions_val2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"images": images, "annotations": said}))
    listing = Listing(str(path))
    assert [(entry.path, entry.read().caption) for entry in listing] == [("1", "photo 1")]
    assert listing.passed_over == {"annotations of images that are not in the list": 2}
    assert (listing.broken, listing.withheld) == ({}, 0)
    assert original(str(path), "1") == (tmp_path / "val2017" / "001.jpg").read_bytes()


def test_the_original_of_a_table_with_named_columns_is_given_out(tmp_path, fill):
    fill(tmp_path, [1])
    (tmp_path / "a.csv").write_text("Bild,words\n001.jpg,a cat\n")
    source = with_columns(str(tmp_path / "a.csv"), "bild", "words")
    check_source(source)
    assert [entry.read().caption for entry in Listing(source)] == ["a cat"]
    assert original(source, "001.jpg") == (tmp_path / "001.jpg").read_bytes()
