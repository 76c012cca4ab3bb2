import sys
from itertools import islice

import pyarrow
import pyarrow.parquet
import pytest

from foveal.data.formats import Parquet
from foveal.data.formats.fields import Columns
from foveal.data.stream import Stream
from foveal.types import Sample

JPEG = b"\xff\xd8\xff" + bytes(50)


def table(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return Parquet(path)


def identity(sample, random):
    return sample.id


def test_foreign_columns_of_pictures_are_read(tmp_path):
    for image, expected in ((JPEG, JPEG), ({"bytes": JPEG, "path": "x"}, JPEG), ("a/b.jpg", tmp_path / "a" / "b.jpg")):
        part = table(tmp_path / "a.parquet", id=["1"], image=[image], captions=[["c"]], other=[3])
        assert list(part) == [Sample("1", expected, ("c",))]


def test_a_broken_row_is_named_and_the_others_still_read(tmp_path):
    records = [
        record
        for shard in table(tmp_path / "a.parquet", id=["1", "2"], image=[None, JPEG]).shards()
        for record in shard.records()
    ]
    with pytest.raises(ValueError, match=r"a\.parquet: row group 0, row 0: not a sample: 'image' is empty"):
        records[0]()
    assert records[1]().id == "2"


def test_what_is_no_parquet_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"a\.parquet is no Parquet file"):
        list(Parquet(tmp_path / "a.parquet"))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"pip install 'foveal\[parquet\]'"):
        Parquet(tmp_path / "a.parquet").write([])


def test_forked_workers_read_row_groups(tmp_path):
    part = Parquet(tmp_path / "a.parquet", samples_per_shard=3)
    part.write(Sample(str(number), JPEG) for number in range(12))
    assert len(part.shards()) == 4
    stream = Stream(part, batch_size=2, prepare=identity, collate=tuple, workers=2)
    assert sorted(int(name) for batch in islice(stream, 6) for name in batch) == list(range(12))


def test_a_table_of_hugging_face_without_ids_is_read(tmp_path):
    struct = [{"bytes": JPEG + bytes([number]), "path": "image.jpg"} for number in range(5)]
    path = tmp_path / "train-00000.parquet"
    columns = {"image": struct, "text": [f"photo {number}" for number in range(5)]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    assert list(Parquet(path)) == [
        Sample(f"train-00000/{number}", struct[number]["bytes"], (f"photo {number}",)) for number in range(5)
    ]


def test_neighboring_rows_of_one_image_are_one_sample(tmp_path):
    path = tmp_path / "a.parquet"
    images = [b"a", b"a", b"b", b"a", None, None, b"c", b"c", b"c"]
    captions = [[f"{n}", "x"] for n in range(9)]
    part = table(path, jpg=images, long_caption=["", "", "", "", "", "", "l", "", "m"], sentences=captions)
    broken, whole = 0, []
    for record in part.shards()[0].records():
        try:
            whole.append(record())
        except ValueError:
            broken += 1
    assert broken == 2
    assert [sample.captions for sample in whole] == [
        ("0", "x", "1"),
        ("2", "x"),
        ("3", "x"),
        ("6", "x", "7"),
        ("8", "x"),
    ]
    assert [sample.id for sample in whole] == ["a/0", "a/2", "a/3", "a/6", "a/8"]


def test_unknown_columns_are_named_with_the_option_to_give(tmp_path, caplog):
    part = table(tmp_path / "a.parquet", data=[{"photo": JPEG}], words=["a cat"])
    with pytest.raises(ValueError, match=r"no column is known to hold images\. There are: data, words\. Name it"):
        part.shards()
    assert not next(iter(Parquet(part.path, Columns(image="data.photo")))).captions
    assert "no column is known to hold captions" in caplog.text
    assert next(iter(Parquet(part.path, Columns(image="data.photo", caption="Words")))).captions == ("a cat",)
