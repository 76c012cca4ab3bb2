import pytest

from foveal.data.formats import Jsonl
from foveal.types import Sample


def test_blank_lines_do_not_count_and_paths_start_from_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"id": "1", "image": "x/1.jpg"}\n\n{"id": "2", "image": "/y/2.jpg"}', encoding="utf-8")
    assert list(Jsonl(path)) == [Sample("1", tmp_path / "x" / "1.jpg"), Sample("2", type(tmp_path)("/y/2.jpg"))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Expecting"),
        ("[]", "not a sample"),
        ('{"id": "a"}', "no 'image'"),
        ('{"id": "a", "image": "a", "captions": "a"}', "'captions'"),
        ("\xff", "not a sample"),
    ],
)
def test_a_broken_line_is_named_and_the_others_still_read(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    good = b'{"id": "1", "image": "1.jpg"}\n'
    path.write_bytes(good + line.encode("latin-1") + b"\n" + good)
    with pytest.raises(ValueError, match=rf"a\.jsonl:2: not a sample: .*{message}|a\.jsonl:2: {message}"):
        list(Jsonl(path))
    assert Jsonl(path).sample(2).id == "1"


def test_pictures_that_are_files_stay_where_they_are(tmp_path):
    inside, outside = tmp_path / "data" / "in.jpg", tmp_path / "out.jpg"
    path = tmp_path / "data" / "a.jsonl"
    Jsonl(path).write([Sample("1", inside), Sample("2", outside)])
    assert '"image": "in.jpg"' in path.read_text()
    assert [sample.image for sample in Jsonl(path)] == [inside, outside]
    assert [one.name for one in path.parent.iterdir()] == ["a.jsonl"]
