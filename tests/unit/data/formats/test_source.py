import json
from pathlib import Path

import pytest

from foveal.data.formats import CsvPairs, FineHard, Jsonl, JsonRows, Parquet, ShareGpt4v, WebDataset, open_source
from foveal.data.formats.fields import Columns
from foveal.data.formats.folder import Folder
from foveal.data.formats.source import with_columns
from foveal.types import Sample


def test_words_go_to_their_openers():
    (sample,) = open_source("scenes:count=3", schemes={"scenes": lambda spec: [Sample(spec, b"")]})
    assert sample.id == "scenes:count=3"
    with pytest.raises(ValueError, match=r"Unknown kind of source 'scenes:'"):
        open_source("scenes:count=3")


def test_folders_are_told_by_what_is_inside(tmp_path):
    for ending, kind in ((".parquet", Parquet), (".tar", WebDataset)):
        (tmp_path / f"a{ending}").touch()
        assert open_source(tmp_path) == kind(tmp_path)


def test_a_folder_of_pictures_stays_one_whatever_else_lies_in_it(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.jpg").touch()
    for name in ("a.tar", "a.parquet", "a.json", "a.jsonl", "a.csv"):
        (tmp_path / name).touch()
    assert open_source(tmp_path) == Folder(tmp_path)


def test_shards_in_folders_of_a_folder_are_read_in_order(tmp_path):
    for name in ("b/0", "a/1", "a/0"):
        WebDataset(tmp_path / f"{name}.tar").write([Sample(name, b"\xff\xd8\xff")])
    assert [sample.id for sample in open_source(tmp_path)] == ["a/0", "a/1", "b/0"]


def test_tables_and_json_take_their_options_from_the_name(tmp_path):
    (tmp_path / "a.tsv").touch()
    assert open_source(tmp_path / "a.tsv") == CsvPairs(tmp_path / "a.tsv")
    path = tmp_path / "a.json"
    for item, kind in (({"f_path": "x"}, FineHard), ({"conversations": []}, ShareGpt4v), ({"image": "x"}, JsonRows)):
        path.write_text(json.dumps([item]))
        assert open_source(f"{path}::pictures") == kind(path, Path("pictures"))
        assert open_source(path, images=tmp_path) == kind(path, tmp_path)


@pytest.mark.parametrize("content", ["[]", "[1]", '{"a": 1}', "{}", " "])
def test_json_of_no_known_kind_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match="of no known kind"):
        open_source(tmp_path / "a.json")


def test_other_names_are_refused(tmp_path):
    (tmp_path / "a.xml").touch()
    with pytest.raises(ValueError, match="of no known kind"):
        open_source(tmp_path / "a.xml")
    with pytest.raises(ValueError, match="No such file"):
        open_source(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="holds no"):
        open_source(tmp_path)


def test_columns_are_named_behind_the_file(tmp_path):
    columns = Columns("photo", "words")
    for ending, kind in ((".csv", CsvPairs), (".jsonl", Jsonl), (".parquet", Parquet)):
        (tmp_path / f"a{ending}").touch()
        spec = with_columns(str(tmp_path / f"a{ending}"), "photo", "words")
        assert open_source(spec) == kind(tmp_path / f"a{ending}", columns=columns)
    (tmp_path / "a.json").write_text('[{"photo": 1}]')
    spec = with_columns(f"{tmp_path / 'a.json'}::pictures", caption="words")
    assert open_source(spec) == JsonRows(tmp_path / "a.json", Path("pictures"), Columns(caption="words"))
    assert with_columns("a.csv") == "a.csv"


def test_columns_of_what_has_none_and_a_second_folder_are_refused(tmp_path):
    (tmp_path / "a.tar").touch()
    with pytest.raises(ValueError, match=r"a\.tar' has no columns to be named"):
        open_source(f"{tmp_path / 'a.tar'}::image=photo")
    with pytest.raises(ValueError, match="two folders of pictures, 'x' and 'y'"):
        open_source(f"{tmp_path / 'a.tar'}::x::y")
