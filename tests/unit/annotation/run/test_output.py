from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from foveal.annotation.run.output import Output, fitting
from foveal.data.formats import CsvPairs, FineHard, Jsonl, Parquet, WebDataset
from foveal.types import Negative, Region, Sample

BOX = (0.1, 0.2, 0.5, 0.75)
REGION = Region(BOX, "a cup", (Negative("a dish", "object"), Negative("a mug")))
SAMPLE = Sample("a", b"", ("One.", "Two."), "Three.", (REGION,), (Negative("Four."),), (Negative("Five."),))


def test_paths_are_as_the_output_names_them():
    assert Output(Path("a/b.jsonl")).memory == Path("a/b.jsonl.annotation")
    assert Output(Path("a/shards")).memory == Path("a/shards.annotation")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", Jsonl),
        ("a.JSONLINES", Jsonl),
        ("a.json", FineHard),
        ("a.parquet", Parquet),
        ("a.csv", CsvPairs),
        ("a.tsv", CsvPairs),
        ("a.tar", WebDataset),
        ("a", WebDataset),
    ],
)
def test_the_ending_says_the_format(name, kind):
    assert type(Output(Path(name)).writer()) is kind
    assert Output(Path(name)).writer().path == Path(name)


def test_columns_are_parted_by_what_the_ending_says():
    assert [Output(Path(name)).writer().separator for name in ("a.csv", "a.tsv")] == [",", "\t"]


def test_a_folder_takes_shards_whatever_its_name(tmp_path):
    (tmp_path / "shards.v1").mkdir()
    assert type(Output(tmp_path / "shards.v1").writer()) is WebDataset
    with pytest.raises(ValueError, match=r"'a.xml' is of no known kind to write. Known: \*.jsonl"):
        Output(Path("a.xml")).writer()


def test_a_file_or_a_folder_that_holds_something_is_there(tmp_path):
    output = Output(tmp_path / "shards")
    assert not output.is_there
    output.path.mkdir()
    assert not output.is_there
    (output.path / "shard-00000.tar").write_bytes(b"")
    assert output.is_there
    (tmp_path / "a.jsonl").write_text("")
    assert Output(tmp_path / "a.jsonl").is_there


def test_only_files_and_shards_are_cleared(tmp_path):
    file, folder = Output(tmp_path / "a.jsonl"), Output(tmp_path / "shards")
    file.clear()
    file.path.write_text("")
    file.clear()
    assert not file.path.exists()
    folder.path.mkdir()
    (folder.path / "shard-00000.tar").write_bytes(b"")
    (folder.path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds more than shards \(notes.txt"):
        folder.clear()
    assert len(list(folder.path.iterdir())) == 2
    (folder.path / "notes.txt").unlink()
    folder.clear()
    assert list(folder.path.iterdir()) == []


def test_what_a_format_holds_is_left_as_it_is():
    left_out = Counter()
    assert list(fitting([SAMPLE], Jsonl(Path("a.jsonl")), left_out)) == [SAMPLE]
    assert not left_out


def test_what_a_format_cannot_hold_is_left_out_and_counted():
    left_out = Counter()
    (fit,) = fitting([SAMPLE], FineHard(Path("a.json")), left_out)
    plain = (Negative("a dish"), Negative("a mug"))
    assert fit == Sample("a", b"", ("One.",), "Three.", (replace(REGION, negatives=plain),))
    assert left_out == {
        "captions but the first": 1,
        "caption_negatives": 1,
        "long_caption_negatives": 1,
        "kinds of near misses": 1,
    }


def test_a_table_holds_one_caption():
    left_out = Counter()
    (fit,) = fitting([SAMPLE], CsvPairs(Path("a.csv")), left_out)
    assert fit.captions == ("One.",)
    assert fit.regions == ()
    assert left_out["regions"] == left_out["captions but the first"] == 1
