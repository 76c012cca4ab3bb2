"""JSON from outside is read up to a size and a depth, and every refusal is one line."""

import json

import pytest

from foveal import outside
from foveal.outside import read_json, read_object, shown


def test_values_are_read_as_json_reads_them(tmp_path):
    value = {"a": [1, 2.5, None, True, {"ü": "\n"}], "b": {}}
    (tmp_path / "a.json").write_text(json.dumps(value), encoding="utf-8")
    assert read_json(tmp_path / "a.json") == read_object(tmp_path / "a.json") == value


@pytest.mark.parametrize("depth", [66, 1_000, 100_000])
@pytest.mark.parametrize("level", [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(tmp_path, depth, level):
    opening, closing = level
    (tmp_path / "a.json").write_text(opening * depth + "1" + closing * depth)
    with pytest.raises(ValueError, match=r"a\.json is nested more than 64 levels deep\. Copy it again\.$"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(opening * 64 + "1" + closing * 64)
    read_json(tmp_path / "a.json")


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(outside, "LARGEST_JSON", 100)
    (tmp_path / "a.json").write_text(json.dumps("x" * 98))
    assert read_json(tmp_path / "a.json") == "x" * 98
    (tmp_path / "a.json").write_text(json.dumps("x" * 99))
    with pytest.raises(ValueError, match=r"a\.json has more than 100 bytes"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "is no JSON"),
        (b"{", "is no JSON"),
        (b"9" * 5_000, "is no JSON"),
        (b"[]", "holds list, not an object"),
        (b"NaN", "holds float, not an object"),
    ],
)
def test_what_is_no_object_is_refused_in_a_line(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_object(tmp_path / "a.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="There is no file"):
        read_json(tmp_path)


def test_a_value_is_shown_escaped_and_short():
    assert shown("vit_base") == "'vit_base'"
    assert shown("a\nb\x1b[31m") == r"'a\nb\x1b[31m'"
    nested = []
    for _ in range(10_000):
        nested = [nested]
    assert max(len(shown(value)) for value in ("x" * 10**6, list(range(10**6)), 10**300, nested)) < 200
