import io
import tarfile
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.formats import WebDataset, open_source, webdataset
from foveal.types import Sample

JPEG = b"\xff\xd8\xff" + bytes(700)


def tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return WebDataset(path)


def test_members_with_one_key_are_one_sample(tmp_path):
    part = tar(
        tmp_path / "a.tar",
        [
            ("./x/1.v2.cls", b"4"),
            ("./x/1.JPG", JPEG),
            ("./x/1.txt", b" a cat\n"),
            ("y/1.webp", JPEG),
            ("y/1.json", b'{"id": "other", "captions": ["b"], "url": "u"}'),
            ("y/1.txt", b"not this"),
            ("z.png", JPEG),
            ("z.json", b'{"long_caption": "l"}'),
        ],
    )
    assert list(part) == [
        Sample("./x/1", JPEG, ("a cat",)),
        Sample("other", JPEG, ("b",)),
        Sample("z", JPEG, (), "l"),
    ]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("k.json", b"{}")], "no picture"),
        ([("k.txt", b"a cat"), ("k.npy", b"")], "must lie one behind another"),
        ([("k.jpg", JPEG), ("k.json", b"{")], "Expecting"),
        ([("k.jpg", JPEG), ("k.json", b"[]")], "no object"),
        ([("k.jpg", JPEG), ("k.txt", b"\xff")], "decode"),
    ],
)
def test_a_broken_sample_is_named_and_the_others_still_read(tmp_path, members, message):
    good = [("good.jpg", JPEG), ("good.txt", b"fine")]
    records = list(tar(tmp_path / "a.tar", [*members, *good]).records())
    with pytest.raises(ValueError, match=rf"a\.tar: k: not a sample: .*{message}"):
        records[0]()
    assert records[1]().id == "good"


@pytest.mark.parametrize("length", [1024, 1024 + 600, 3 * 512 + 100, 5 * 512, 5 * 512 + 100, 5 * 512 + 512])
def test_a_shard_cut_off_anywhere_is_not_silently_shorter(tmp_path, length):
    """tarfile takes a damaged or missing header for the end of the archive."""
    members = [(f"{number}.{ending}", JPEG) for number in range(3) for ending in ("jpg", "txt")]
    part = tar(tmp_path / "a.tar", members)
    part.path.write_bytes(part.path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"a\.tar: cut off or damaged after"):
        list(part.records())


def test_a_damaged_header_is_no_end(tmp_path):
    part = tar(tmp_path / "a.tar", [(f"{number}.txt", b"x") for number in range(4)])
    data = bytearray(part.path.read_bytes())
    data[2048 + 5] ^= 1
    part.path.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged after 1\.txt"):
        list(part.records())


def test_shards_are_filled_one_after_the_other_and_not_overwritten(tmp_path):
    part = WebDataset(tmp_path / "out", samples_per_shard=2)
    samples = [Sample(str(number), JPEG, ("c",)) for number in range(5)]
    assert part.write(iter(samples)) == 5
    assert [len(list(shard)) for shard in part.shards()] == [2, 2, 1]
    assert [len(list(shard)) for shard in WebDataset(part.path / "shard-{000001..000002}.tar").shards()] == [2, 1]
    with pytest.raises(ValueError, match="holds shards already"):
        part.write(samples)
    with pytest.raises(ValueError, match="is a pattern"):
        WebDataset(tmp_path / "{0..1}.tar").write(samples)


def test_the_same_samples_make_the_same_file(tmp_path):
    for name in ("a.tar", "b.tar"):
        WebDataset(tmp_path / name).write([Sample("1", JPEG, ("c",))])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_picture_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="none of JPEG, PNG"):
        WebDataset(tmp_path / "a.tar").write([Sample("1", b"<svg>")])
    assert list(tmp_path.iterdir()) == []


def read(part):
    """The samples of a tar, and what was passed over."""
    passed_over = Counter()
    return [record() for record in part.records(passed_over)], dict(passed_over)


def test_pictures_alone_are_samples_without_captions(tmp_path):
    part = tar(tmp_path / "a.tar", [("1.jpg", JPEG), ("1.cls", b"3"), ("b/2.GIF", JPEG), ("3.jfif", JPEG)])
    assert read(part) == ([Sample("1", JPEG), Sample("b/2", JPEG), Sample("3", JPEG)], {".cls": 1})


def test_what_macs_and_old_tars_put_beside_the_members_is_passed_over_and_counted(tmp_path):
    names = ("./._1.jpg", "./1.jpg", "__MACOSX/._1.jpg", "__MACOSX/1.jpg", ".DS_Store", "PaxHeaders.9/1.jpg", "README")
    part = tar(tmp_path / "a.tar", [(name, JPEG) for name in names])
    with tarfile.open(part.path, "a") as file:
        for kind, name in ((tarfile.DIRTYPE, "x.jpg"), (tarfile.SYMTYPE, "y.jpg"), (tarfile.FIFOTYPE, "z.jpg")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "1.jpg"
            file.addfile(member)
        hard = tarfile.TarInfo("hard.jpg")
        hard.type, hard.linkname = tarfile.LNKTYPE, "./1.jpg"
        file.addfile(hard)
    expected = {"hidden files": 5, "without suffix": 1, "folders": 1, "links": 2, "pipes, sockets and devices": 1}
    assert read(part) == ([Sample("./1", JPEG)], expected)


def test_of_several_pictures_under_one_key_the_usual_suffix_counts(tmp_path):
    part = tar(tmp_path / "a.tar", [("1.mask.png", JPEG), ("1.png", JPEG), ("1.jpg", b"\xff\xd8\xff"), ("1.txt", b"a")])
    assert read(part) == ([Sample("1", b"\xff\xd8\xff", ("a",))], {".png": 2})


def test_texts_of_several_names_are_captions_and_what_is_not_read_is_counted(tmp_path):
    members = [
        ("1.jpg", JPEG),
        ("1.caption.txt", b"a cat"),
        ("1.text", b"a dog"),
        ("1.txt", b"a cat"),
        ("1.orig.txt", b""),
    ]
    members += [("2.jpg", JPEG), ("2.txt", b" \n"), ("2.meta.json", b"{}"), ("3.note.txt", b"no picture")]
    samples, passed_over = read(tar(tmp_path / "a.tar", members))
    assert samples == [Sample("1", JPEG, ("a cat", "a dog")), Sample("2", JPEG)]
    assert passed_over == {".txt": 2, ".json": 1}


def test_names_of_photos_with_dots_are_samples_of_their_own(tmp_path):
    """By WebDataset's rule all of them have one key, which would lose all but one."""
    members = [
        (f"photo.2021.{number:04d}.{ending}", JPEG + bytes(number) if ending == "jpg" else b"day %d" % number)
        for number in range(200)
        for ending in ("jpg", "txt")
    ]
    samples, passed_over = read(tar(tmp_path / "a.tar", members))
    assert samples == [
        Sample(f"photo.2021.{number:04d}", JPEG + bytes(number), (f"day {number}",)) for number in range(200)
    ]
    assert passed_over == {}


def test_a_text_of_the_key_goes_to_each_of_its_pictures_that_has_none(tmp_path):
    members = [("1.left.jpg", JPEG), ("1.left.txt", b"left"), ("1.right.jpg", JPEG), ("1.txt", b"both")]
    samples, _ = read(tar(tmp_path / "a.tar", members))
    assert samples == [Sample("1.left", JPEG, ("left",)), Sample("1.right", JPEG, ("both",))]


def test_members_of_a_sample_that_lie_apart_are_named(tmp_path):
    part = tar(tmp_path / "a.tar", [("1.jpg", JPEG), ("2.jpg", JPEG), ("1.txt", b"one"), ("2.txt", b"two")])
    first, second, *texts = part.records()
    assert (first(), second()) == (Sample("1", JPEG), Sample("2", JPEG))
    for record in texts:
        with pytest.raises(ValueError, match="must lie one behind another"):
            record()


def test_a_member_that_another_of_its_name_replaces_is_counted(tmp_path):
    part = tar(tmp_path / "a.tar", [("1.jpg", JPEG), ("1.JPG", b"\xff\xd8\xff")])
    assert read(part) == ([Sample("1", b"\xff\xd8\xff")], {"members that another of their name replaces": 1})


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_packed_tars_are_read_and_what_lies_before_damage_is_kept(tmp_path, ending):
    plain = tar(tmp_path / "a.tar", [(f"{number}.jpg", JPEG + noise(2000, number)) for number in range(40)])
    packing = {"tgz": "gz"}.get(ending, ending.rpartition(".")[2])
    path = tmp_path / f"b.{ending}"
    with tarfile.open(path, f"w:{packing}") as file, tarfile.open(plain.path) as members:
        for member in members:
            file.addfile(member, members.extractfile(member))
    part = open_source(path)
    assert list(part) == list(plain)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples = []
    with pytest.raises(ValueError, match=r"cut off or damaged after .*Copy it again"):
        samples.extend(record() for record in part.records())
    samples = list(until_damaged(part))
    assert samples == list(plain)[: len(samples)]
    assert len(samples) >= (0 if packing == "bz2" else 10)


def test_the_last_whole_sample_before_the_damage_is_kept_and_half_of_one_is_not(tmp_path):
    members = [(f"{number}.{ending}", JPEG) for number in range(3) for ending in ("jpg", "json")]
    members = [(name, data if name.endswith("jpg") else b"{}") for name, data in members]
    part = tar(tmp_path / "a.tar", members)
    whole = part.path.read_bytes()
    with tarfile.open(part.path) as file:
        starts = {member.name: member.offset for member in file}
    for stop, kept in ((starts["2.jpg"], ["0", "1"]), (starts["1.json"], ["0"]), (starts["2.json"] + 100, ["0", "1"])):
        part.path.write_bytes(whole[:stop])
        assert [sample.id for sample in until_damaged(part)] == kept


def test_tars_joined_by_cat_are_not_silently_shorter(tmp_path):
    """An end mark between them hides all that follows."""
    first, second = (tar(tmp_path / name, [(f"{name}.jpg", JPEG)]) for name in ("a.tar", "b.tar"))
    first.path.write_bytes(first.path.read_bytes() + second.path.read_bytes())
    with pytest.raises(ValueError, match="more follows its end mark"):
        list(first.records())


def test_a_member_that_claims_to_be_huge_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("foveal.data.formats.webdataset.MOST_BYTES", 1000)
    part = tar(tmp_path / "a.tar", [("1.jpg", bytes(2000)), ("2.jpg", JPEG), ("2.json", bytes(2000))])
    first, second = part.records(passed_over := Counter())
    with pytest.raises(ValueError, match="1: not a sample: its picture has more than 1000 bytes"):
        first()
    assert second() == Sample("2", JPEG)
    assert passed_over == {".json": 1}


def test_a_key_that_is_no_unicode_is_named(tmp_path):
    part = tar(tmp_path / "a.tar", [("b\udce4r.jpg", JPEG), ("good.jpg", JPEG)])
    first, second = part.records()
    with pytest.raises(ValueError, match="not a sample"):
        first()
    assert second().id == "good"


STEMS = st.sampled_from(["a", "b", "c.1", "c.2", "._d", "x/e", "__MACOSX/f"])
ENDINGS = st.sampled_from([".jpg", ".JPG", ".png", ".txt", ".json", ".cls", "", ".left.jpg"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(str.__add__, STEMS, ENDINGS), max_size=12, unique_by=str.lower))
def test_every_picture_of_a_tar_is_in_one_sample_or_passed_over(names):
    with tempfile.TemporaryDirectory() as folder:
        part = tar(Path(folder, "a.tar"), [(name, b"{}") for name in names])
        passed_over, samples, broken = Counter(), [], 0
        for record in part.records(passed_over):
            try:
                samples.append(record())
            except ValueError:
                broken += 1
    pictures = [name for name in names if name.lower().endswith((".jpg", ".png"))]
    hidden = sum(name.startswith(("._", "__MACOSX")) for name in names)
    assert passed_over["hidden files"] == hidden
    hidden_pictures = sum(name.startswith(("._", "__MACOSX")) for name in pictures)
    assert len(pictures) == len(samples) + hidden_pictures + passed_over[".jpg"] + passed_over[".png"]
    texts = [name for name in names if name.endswith((".txt", ".json")) and not name.startswith(("._", "__MAC"))]
    assert broken <= len(texts)


def until_damaged(part):
    """The samples before the damage of a shard."""
    records = part.records()
    while True:
        try:
            yield next(records)()
        except (StopIteration, ValueError):
            return


def noise(length, seed):
    return np.random.default_rng(seed).integers(0, 256, length, dtype=np.uint8).tobytes()


def test_an_empty_file_is_refused_in_one_line(tmp_path):
    """tarfile's own message lists every compression it tried, a line each."""
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"a\.tar: cut off or damaged after the beginning: .*\. Copy it again\.$"
    ) as error:
        list(WebDataset(tmp_path / "a.tar"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_read_here_are_those_that_tarfile_reads(kind: int, tmp_path: Path) -> None:
    names = ["a.jpg", "folder/b.jpg", f"{'deep/' * 25}c.jpg", "ä.jpg", f"{'long' * 30}.jpg", "last.jpg"]
    sizes = [0, 1, 512, 513, 1000, 7]
    with tarfile.open(tmp_path / "all.tar", "w", format=kind) as tar:
        for name, size in zip(names, sizes, strict=True):
            member = tarfile.TarInfo(name)
            member.size = size
            member.mtime = 1.5  # which PAX writes into a header of its own
            with suppress(ValueError):  # POSIX's format of 1988 has no place for the longest name
                tar.addfile(member, io.BytesIO(bytes([65 + size % 7]) * size))
    with tarfile.open(tmp_path / "all.tar") as tar:
        expected = [(member.name, tar.extractfile(member).read()) for member in tar]
    assert [(header.name, content()) for header, content in webdataset._headers(tmp_path / "all.tar")] == expected
    assert len(expected) >= 5


def test_a_header_that_does_not_add_up_is_no_plain_one(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a.jpg").tobuf(tarfile.USTAR_FORMAT)
    assert webdataset._plain_header(header).name == "a.jpg"
    assert webdataset._plain_header(header[:3] + b"x" + header[4:]) is None
    assert webdataset._plain_header(header[:100]) is None
