import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.formats.folder import (
    OUTSIDE,
    Folder,
    Listed,
    content_of,
    files_below,
    leading_out,
    list_folder,
    unread,
)
from foveal.types import Sample


def make(root, *names, content=b"x"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def names(listed: Listed):
    return [listed.name(index) for index in range(len(listed))]


def test_pictures_of_every_suffix_are_listed_in_an_order_that_stays(tmp_path):
    make(tmp_path, "b/2.JPG", "b/1.jfif", "a/deep/3.Webp", "z.gif", "B.jpe", "c.bmp", "d.tiff", "e.avif", "f.pgm")
    expected = ["B.jpe", "c.bmp", "d.tiff", "e.avif", "f.pgm", "z.gif", "a/deep/3.Webp", "b/1.jfif", "b/2.JPG"]
    assert names(list_folder(tmp_path)) == expected
    assert names(list_folder(tmp_path)) == expected


def test_all_else_is_counted_by_suffix_or_by_what_it_is(tmp_path):
    make(tmp_path, "1.jpg", "export.tar", "b/x.tar.gz", "b/data.PARQUET", "notes.md", "README", ".DS_Store", "raw.CR2")
    make(tmp_path, "clip.mov", ".git/config", "index/pictures.lance/x.jpg", "odd.this is no suffix", "alone.txt")
    os.mkfifo(tmp_path / "pipe")
    listed = list_folder(tmp_path)
    assert names(listed) == ["1.jpg"]
    assert dict(listed.passed_over) == {
        **dict.fromkeys((".tar", ".tar.gz", ".parquet", ".md", "without suffix", ".cr2", ".mov", ".txt"), 1),
        **dict.fromkeys(("hidden files", "hidden folders", ".lance folders", "other suffixes"), 1),
        "pipes, sockets and devices": 1,
    }
    assert listed.whole
    assert unread(listed.passed_over) == [
        "1 .cr2 are not read; convert to JPEG.",
        "1 .mov are not read; take frames out of them.",
        "1 .parquet, 1 .tar, 1 .tar.gz are passed over for what lies beside them; to read them, name them:"
        " FOLDER/*.tar",
    ]


def test_a_suffix_for_every_file_does_not_fill_the_report(tmp_path):
    make(tmp_path, "1.jpg", *(f"part.{number}" for number in range(300)))
    listed = list_folder(tmp_path)
    assert listed.passed_over.total() == 300
    assert len(listed.passed_over) <= 201


def test_odd_files_with_the_name_of_a_picture_are_named(tmp_path):
    make(tmp_path, "1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    make(tmp_path, "large.jpg", content=bytes(100))
    listed = list_folder(tmp_path, most=99)
    assert names(listed) == ["1.jpg"]
    assert listed.broken == {
        "pipe.jpg": "It is a named pipe, no regular file.",
        "zero.jpg": "It is a device, no regular file.",
        "gone.jpg": "No such file or directory",
        "self.jpg": "Too many levels of symbolic links",
        "large.jpg": "It has 100 bytes, more than 99.",
    }


def test_a_folder_that_cannot_be_read_is_named_and_the_listing_is_not_whole(tmp_path, monkeypatch):
    make(tmp_path, "a/1.jpg", "b/2.jpg")
    scandir = os.scandir

    def refusing(place):
        if str(place).endswith("a/"):
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    listed = list_folder(tmp_path)
    assert (names(listed), listed.broken, listed.whole) == (["b/2.jpg"], {"a": "Permission denied"}, False)


@pytest.fixture
def linked(tmp_path):
    """A library with links that lead out of it, into it, in a circle, and to what is hidden in it."""
    make(tmp_path, "lib/2020/1.jpg", "disk/2021/2.jpg", "disk/3.jpg", "lib/.store/ab/4.jpg")
    (tmp_path / "lib/2021").symlink_to("../disk/2021")
    (tmp_path / "lib/3.jpg").symlink_to("../disk/3.jpg")
    (tmp_path / "lib/loop").symlink_to(".")
    (tmp_path / "lib/2020/up").symlink_to("..")
    (tmp_path / "lib/best").symlink_to("2020")
    (tmp_path / "lib/best.jpg").symlink_to("2020/1.jpg")
    (tmp_path / "lib/4.jpg").symlink_to(".store/ab/4.jpg")
    (tmp_path / "disk/2021/back").symlink_to(tmp_path / "lib")
    (tmp_path / "disk/2021/again").symlink_to(tmp_path / "disk/2021")
    return tmp_path / "lib"


def test_links_out_of_the_folder_are_named_and_not_followed(linked):
    listed = list_folder(linked)
    assert names(listed) == ["4.jpg", "2020/1.jpg"]
    assert listed.broken == {"2021": OUTSIDE, "3.jpg": OUTSIDE}
    assert dict(listed.passed_over) == {"hidden folders": 1, "links to what is listed in its place": 4}
    (line,) = leading_out(listed.broken)
    assert line == "2 links or paths lead out of the source and are not followed, 2021 among them."


def test_links_out_of_the_folder_are_followed_once_where_that_is_allowed(linked):
    listed = list_folder(linked, outside=True)
    assert names(listed) == ["3.jpg", "4.jpg", "2020/1.jpg", "2021/2.jpg"]
    assert listed.broken == {}
    assert listed.passed_over["links to what is listed in its place"] == 6


def test_training_and_annotation_follow_links(linked):
    assert [sample.id for sample in Folder(linked)] == ["3.jpg", "4.jpg", "2020/1.jpg", "2021/2.jpg"]


def test_pictures_behind_links_win_over_shards(linked):
    (linked / "2020/1.jpg").unlink()
    make(linked, "x.tar")
    assert content_of(linked) == "pictures"


def test_a_disk_that_a_link_leads_to_and_that_is_gone_leaves_the_listing_not_whole(linked):
    (linked.parent / "disk").rename(linked.parent / "unmounted")
    assert list_folder(linked).whole
    listed = list_folder(linked, outside=True)
    assert not listed.whole
    assert listed.broken["2021"] == "No such file or directory"


def test_a_text_beside_a_picture_is_its_caption_and_more_lines_its_long_caption(tmp_path):
    make(tmp_path, "a.jpg", "b.PNG", "c.d.gif", "e.jpg", "f.jpg", "g.jpg")
    (tmp_path / "a.txt").write_text("\ufeff A cat. \r\nIt sits\non a sofa.\n", encoding="utf-8")
    (tmp_path / "b.TXT").write_text("A dog.")
    (tmp_path / "c.d.txt").write_text("A bird.")
    (tmp_path / "e.txt").write_text(" \n")
    (tmp_path / "f.txt").write_text("Ein Bär.", encoding="utf-16")
    (tmp_path / "c.txt").write_text("of no picture")
    folder = Folder(tmp_path)
    assert list(folder) == [
        Sample("a.jpg", tmp_path / "a.jpg", ("A cat.",), "It sits on a sofa."),
        Sample("b.PNG", tmp_path / "b.PNG", ("A dog.",)),
        Sample("c.d.gif", tmp_path / "c.d.gif", ("A bird.",)),
        Sample("e.jpg", tmp_path / "e.jpg"),
        Sample("f.jpg", tmp_path / "f.jpg", ("Ein Bär.",)),
        Sample("g.jpg", tmp_path / "g.jpg"),
    ]
    assert folder.listed.passed_over == {".txt": 1}


def test_a_text_that_is_none_costs_no_picture_and_is_noted(tmp_path):
    make(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "a.txt").write_bytes(b"stra\xdfe")
    os.mkfifo(tmp_path / "b.txt")
    first, second = Folder(tmp_path)
    assert first == Sample("a.jpg", tmp_path / "a.jpg")
    assert "a.txt: not UTF-8" in first.notes[0]
    assert second == Sample("b.jpg", tmp_path / "b.jpg")


def test_a_stamp_changes_with_the_text_and_stays_near_the_time_of_change(tmp_path):
    make(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(10**18 + 5, 10**18 + 5))
    stamps = [list_folder(tmp_path).stamps[0]]
    assert stamps == [10**18 + 5]
    for text, time in (("a cat", 10**18), ("a dog!", 10**18), ("a dog!", 9 * 10**17)):
        (tmp_path / "a.txt").write_text(text)
        os.utime(tmp_path / "a.txt", ns=(time, time))
        stamps.append(list_folder(tmp_path).stamps[0])
    assert len(set(stamps)) == 4
    assert all(abs(stamp - stamps[0]) < 1.1e9 for stamp in stamps)
    assert list_folder(tmp_path).stamps[0] == stamps[-1]


def test_what_is_left_out_is_logged_where_samples_are_read(tmp_path, caplog):
    make(tmp_path, "1.jpg", "export.tar", "raw.nef")
    os.mkfifo(tmp_path / "2.jpg")
    assert len(Folder(tmp_path)) == 1
    assert "2.jpg is left out: It is a named pipe, no regular file." in caplog.text
    assert "passed over: 1 .nef, 1 .tar." in caplog.text
    assert "1 .nef are not read; convert to JPEG." in caplog.text


@pytest.mark.parametrize(
    ("files", "content"),
    [
        (("a.jpg", "x.tar"), "pictures"),
        (("deep/er/a.jpg", "x.tar", "y.parquet", "z.json"), "pictures"),
        (("a.nef", "x.tar"), "pictures"),
        (("x.tar", "x.parquet", "x_stats.json", "README.md", "clip.mp4", "logo.svg"), ".tar"),
        (("deep/x.TGZ", "y.parquet"), ".tar"),
        (("deep/y.parquet", "z.json"), ".parquet"),
        (("z.json", "notes.txt"), ".json"),
        (("deep/z.json",), ""),
        (("notes.txt", ".hidden.jpg", ".cache/a.jpg"), ""),
        ((), ""),
    ],
)
def test_pictures_win_over_shards_at_any_depth(tmp_path, files, content):
    assert content_of(make(tmp_path, *files)) == content


def test_shards_in_folders_of_a_folder_are_sought_and_hidden_ones_are_not(tmp_path):
    make(tmp_path, "b/1.tar", "a/2.TAR", "0.tgz", "._0.tar", "x.parquet")
    (tmp_path / "link.tar").symlink_to("b/1.tar")
    assert [str(path.relative_to(tmp_path)) for path in files_below(tmp_path, (".tar", ".tgz"))] == [
        "0.tgz",
        "a/2.TAR",
        "b/1.tar",
    ]
    with pytest.raises(ValueError, match=r"holds no \*\.csv"):
        files_below(tmp_path, (".csv",))


STEMS = st.sampled_from([b"a", b"b", b"cat.1", b"new\nline", b"sp ace", b".hid", b"\xff\xfe", "é".encode(), b"-"])
ENDINGS = st.sampled_from([b".jpg", b".JPG", b".png", b".txt", b".TXT", b".tar", b"", b".nef", b".lance", b".mp4"])
NAMES = st.builds(bytes.__add__, STEMS, ENDINGS)
LEAVES = st.sampled_from(["file", "large", "pipe", "gone", "loop", "out", "out folder", "up", "zero"])
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=5), max_leaves=20)


def plant(place: bytes, tree, outside: bytes):
    """Make a tree of files; returns how many entries lie in the folders of it that are neither hidden nor tables."""
    if isinstance(tree, dict):
        Path(os.fsdecode(place)).mkdir(exist_ok=True)
        count = 0
        for name, inner in tree.items():
            inside = plant(place + b"/" + name, inner, outside)
            walked = isinstance(inner, dict) and not name.startswith(b".") and not name.endswith(b".lance")
            count += inside if walked else 1
        return count
    if tree == "pipe":
        os.mkfifo(place)
    elif tree in ("file", "large"):
        Path(os.fsdecode(place)).write_bytes(bytes(10 if tree == "file" else 50))
    else:
        targets = {"gone": b"nowhere", "loop": place, "out": outside + b"/o.jpg", "out folder": outside, "up": b"."}
        Path(os.fsdecode(place)).symlink_to(os.fsdecode(targets.get(tree, b"/dev/zero")))
    return 1


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(NAMES, TREES, max_size=6))
def test_every_file_is_a_picture_its_text_broken_or_passed_over(tree):
    with tempfile.TemporaryDirectory() as folder:
        root, outside = Path(folder, "root"), Path(folder, "outside")
        make(outside, "o.jpg", "p.jpg")
        entries = plant(os.fsencode(root), tree, os.fsencode(outside))
        listed = list_folder(root, most=49)
        texts = {listed.text(index) for index in range(len(listed))} - {""}
        assert len(listed) + len(texts) + len(listed.broken) + listed.passed_over.total() == entries
        assert len(set(names(listed))) == len(listed)
        for image in (root / name for name in names(listed)):
            assert image.is_file()
            assert image.suffix.lower() in (".jpg", ".png")
            assert image.resolve().is_relative_to(root.resolve())
