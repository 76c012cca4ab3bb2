import io
import tarfile

import pytest

from foveal.data.formats import WebDataset
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
        ([("k.jpg", JPEG)], "neither"),
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
    with pytest.raises(ValueError, match="no JPEG, PNG or WebP"):
        WebDataset(tmp_path / "a.tar").write([Sample("1", b"GIF89a")])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_refused_in_one_line(tmp_path):
    """tarfile's own message lists every compression it tried, a line each."""
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"a\.tar: cut off or damaged after the beginning: .*\. Copy it again\.$"
    ) as error:
        list(WebDataset(tmp_path / "a.tar"))
    assert "\n" not in str(error.value)
