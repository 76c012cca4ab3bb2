import sys
from itertools import islice

import pyarrow
import pyarrow.parquet
import pytest

from foveal.data.formats import Parquet
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
    with pytest.raises(ValueError, match=r"a\.parquet: row group 0, row 0: not a sample: no picture"):
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
