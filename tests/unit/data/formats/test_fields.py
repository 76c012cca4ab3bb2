import json
import logging
from itertools import pairwise
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from foveal.data.formats import open_source
from foveal.data.formats.fields import SPELLINGS, Columns, is_empty, plain, shown
from foveal.types import Sample

IMAGES = [name for name in SPELLINGS["image"] if "bytes" not in name]


def as_csv(path, row):
    path = path.with_suffix(".csv")
    path.write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    return path


def as_jsonl(path, row):
    path = path.with_suffix(".jsonl")
    path.write_text(json.dumps(row))
    return path


def as_json(path, row):
    path = path.with_suffix(".json")
    path.write_text(json.dumps([row]))
    return path


def as_parquet(path, row):
    path = path.with_suffix(".parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    return path


def altered(name):
    """The same name as others write it."""
    return "-".join(part.title() for part in name.split("_"))


@pytest.mark.parametrize("write", [as_csv, as_jsonl, as_json, as_parquet])
@pytest.mark.parametrize("spell", [str, str.upper, altered])
def test_every_spelling_is_read_in_every_format_of_rows(tmp_path, write, spell):
    for image in IMAGES:
        row = {spell(image): "a.jpg", spell("text"): "a cat", spell("id"): 7}
        assert list(open_source(write(tmp_path / "a", row))) == [Sample("7", tmp_path / "a.jpg", ("a cat",))], image
    for caption in SPELLINGS["captions"]:
        row = {"image": "a.jpg", spell(caption): "a cat"}
        (sample,) = open_source(write(tmp_path / "a", row))
        assert sample.captions == ("a cat",), caption
    for long in SPELLINGS["long_caption"]:
        (sample,) = open_source(write(tmp_path / "a", {"image": "a.jpg", spell(long): "a cat"}))
        assert (sample.captions, sample.long_caption) == ((), "a cat"), long
    for identity in SPELLINGS["id"]:
        (sample,) = open_source(write(tmp_path / "a", {"image": "a.jpg", spell(identity): 7}))
        assert sample.id == "7", identity


@pytest.mark.parametrize("field", ["image", "captions", "long_caption", "id"])
def test_of_several_spellings_the_first_of_the_table_that_says_something_counts(field):
    names = [name for name in SPELLINGS[field] if "bytes" not in name]
    for first, second in pairwise(names):
        assert Columns().values({second: "b", first: "a"}, field) == ["a"]
        assert Columns().values({second: "b", first: " "}, field) == ["b"]
        assert Columns().values({second: "b", first: None}, field) == ["b"]


def test_no_spelling_belongs_to_two_fields():
    names = [plain(name) for spellings in SPELLINGS.values() for name in spellings]
    assert len(names) == len(set(names))


def test_numbered_columns_of_captions_are_read_in_order():
    row = {"caption_10": "d", "Caption 2": "c", "caption1": "b", "caption": "a", "caption_id": "x", "image_2": "y"}
    assert Columns().values(row, "captions") == ["a", "b", "c", "d"]
    assert Columns().values(row, "image") == []


def test_a_column_that_was_named_comes_before_all_spellings():
    row = {"image": "a", "Photo": {"of": {"cat": "b"}}, "x.y": "c"}
    assert Columns(image="photo").values(row, "image") == [{"of": {"cat": "b"}}]
    assert Columns(image="Photo.of.cat").values(row, "image") == ["b"]
    assert Columns(image="x.y").values(row, "image") == ["c"]
    assert Columns(image="Photo.of.dog").values(row, "image") == []


def test_tables_without_images_are_refused_and_without_captions_named(caplog):
    with pytest.raises(ValueError, match=r"^t: no column is known to hold images\. There are: 'a\\nb', c\. Name it"):
        Columns().check(["a\nb", "c"], "t")
    with pytest.raises(ValueError, match=r"^t: no column is .* There are: x0, .* x19 and 5 more\."):
        Columns().check([f"x{number}" for number in range(25)], "t")
    with caplog.at_level(logging.WARNING):
        Columns().check(["image", "id"], "t")
        Columns().check(["image", "regions", "x"], "t")
        assert not caplog.text
        Columns().check(["image", "x"], "t")
    assert caplog.messages == ["t: no column is known to hold captions. There are: image, x. Name it: --caption-column"]


@pytest.mark.parametrize("value", [None, "", " \n", float("nan"), b"", [], {}, ()])
def test_what_says_nothing_is_empty(value):
    assert is_empty(value)


@pytest.mark.parametrize("value", ["a", 0, 0.0, False, b"a", [""], {"a": None}])
def test_what_says_something_is_not_empty(value):
    assert not is_empty(value)


def test_values_are_shown_on_one_short_line_however_deep_and_long_they_are():
    deep = []
    for _ in range(50_000):
        deep = [deep]
    for value in (deep, "x" * 10**6, list(range(10**5)), {"a\nb": "c\nd"}):
        assert len(shown(value)) < 200
        assert "\n" not in shown(value)
    while deep:  # else freeing it would recurse
        deep = deep.pop()


def test_the_docs_list_every_spelling():
    page = (Path(__file__).parents[4] / "docs" / "data-formats.md").read_text(encoding="utf-8")
    table = page.partition("<!-- spellings -->\n")[2].partition("<!-- end of spellings -->")[0]
    rows = [f"| `{field}` | {' '.join(f'`{name}`' for name in names)} |" for field, names in SPELLINGS.items()]
    assert table.splitlines() == ["| field | names |", "|---|---|", *rows]
