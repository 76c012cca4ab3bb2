import json

import pytest

from foveal.data.formats.json_list import parsed, read_item, read_json, scan_items

ITEMS = [{"a": 'été 🦊 ]}"\\'}, [1, [2, "],["]], 12345, "x", None, {}, -1.5e-7, {"deep": {"er": [{"é": 1}]}}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("escaped", [True, False])
def test_items_are_found_whatever_the_chunks(tmp_path, indent, escaped):
    path = tmp_path / "list.json"
    path.write_text("\n " + json.dumps(ITEMS, indent=indent, ensure_ascii=escaped) + "\n", encoding="utf-8")
    for chunk in (4, 5, 7, 64, 10_000):
        assert [json.loads(item) for _, item in scan_items(path, chunk)] == ITEMS
    assert [json.loads(read_item(path, start, start + len(item))) for start, item in scan_items(path)] == ITEMS


def test_an_empty_list_has_no_items(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[ ]")
    assert list(scan_items(path)) == []


def test_the_mark_of_windows_editors_is_passed_over(tmp_path):
    path = tmp_path / "list.json"
    path.write_bytes(b'\xef\xbb\xbf[{"a": 1}]')
    assert [read_item(path, start, start + len(item)) for start, item in scan_items(path)] == [b'{"a": 1}']


def test_json_that_breaks_off_or_nests_without_end_is_named(tmp_path):
    path = tmp_path / "a.json"
    for content in ('{"images": [', "[" * 100_000, "\xff"):
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(ValueError, match=r"a\.json: not JSON: [^\n]*$"):
            read_json(path)
    with pytest.raises(ValueError, match="nested too deeply"):
        parsed(b"[" * 100_000)
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(ValueError, match=r"a\.json: item 0: nested too deeply"):
        list(scan_items(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a JSON list"),
        ('{"a": 1}', "not a JSON list"),
        ('[{"a": 1}, {"b": ', "item 1"),
        ('[{"a": 1}, {"b": 2}', "item 1: the list has no end"),
        ('[{"a": 1}, {"b": 2}\n', "item 2"),
        ('[{"a": 1}, {b: 2}, {"c": 3}]', "item 1"),
    ],
)
def test_what_is_broken_is_named(tmp_path, text, message):
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"list.json: .*{message}|list.json: {message}"):
        list(scan_items(path, chunk=8))
