import json

import pytest

from foveal.data.formats import Jsonl
from foveal.data.formats.fields import Columns
from foveal.types import Negative, Region, Sample


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
        ("[" * 100_000, "nested too deeply"),
        ("\0" * 30, "not a sample"),
        ('{"id": "a", "image": "http://x/a.jpg"}', "an address"),
        ("\xff", "not a sample"),
    ],
)
def test_a_broken_line_is_named_and_the_others_still_read(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    good, last = b'{"id": "0", "image": "0.jpg"}\n', b'{"id": "1", "image": "1.jpg"}\n'
    path.write_bytes(good + line.encode("latin-1") + b"\n" + last)
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


def rows(path, *objects):
    path.write_text("".join(json.dumps(one) + "\n" for one in objects))
    return Jsonl(path)


def test_rows_of_one_image_are_one_sample_in_the_order_of_first_mention(tmp_path):
    region = {"box": [0, 0, 1, 1], "phrase": "cup"}
    part = rows(
        tmp_path / "a.jsonl",
        {"id": 7, "image": "a.jpg", "caption": "one"},
        {"id": 8, "image": "b.jpg", "regions": [region]},
        {"id": 9, "image": "./a.jpg", "captions": ["two", "one"], "long_caption": "long", "regions": [region]},
        {"image": "b.jpg", "text": "three"},
    )
    cup = Region((0.0, 0.0, 1.0, 1.0), "cup")
    assert list(part) == [
        Sample("7", tmp_path / "a.jpg", ("one", "two"), "long", (cup,)),
        Sample("8", tmp_path / "b.jpg", ("three",), "", (cup,)),
    ]
    assert part.rows == 4


def test_what_a_sample_holds_once_keeps_rows_of_an_image_apart(tmp_path):
    part = rows(
        tmp_path / "a.jsonl",
        {"image": "a.jpg", "long_caption": "long"},
        {"image": "a.jpg", "long_caption": "other"},
        {"image": "a.jpg", "caption": "short"},
        {"image": "a.jpg", "caption": "near", "caption_negatives": ["far"]},
        {"image": "a.jpg", "long_caption": "long"},
    )
    image, far = tmp_path / "a.jpg", (Negative("far"),)
    assert list(part) == [
        Sample("a.jpg", image, ("short",), "long"),
        Sample("a.jpg#2", image, (), "other"),
        Sample("a.jpg#3", image, ("near",), caption_negatives=far),
    ]
    assert part.rows == 5


def test_ids_are_unique_within_a_file(tmp_path):
    part = rows(tmp_path / "a.jsonl", *({"id": "x", "image": f"{n}.jpg"} for n in range(3)), {"image": "y.jpg"})
    assert [sample.id for sample in part] == ["x", "x#2", "x#3", "y.jpg"]


def test_columns_can_be_named_also_within_objects(tmp_path):
    part = rows(tmp_path / "a.jsonl", {"photo": {"file": "a.jpg"}, "Words": "a cat", "caption": "not this"})
    named = Jsonl(part.path, Columns(image="photo.file", caption="words"))
    assert list(named) == [Sample("a.jpg", tmp_path / "a.jpg", ("a cat",))]
    with pytest.raises(ValueError, match=r"no column 'word'\. There are: photo, Words, caption\."):
        len(Jsonl(part.path, Columns(image="photo.file", caption="word")))


def test_a_file_in_which_no_row_has_an_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.jsonl: no column is known to hold images\. There are: x\."):
        len(rows(tmp_path / "a.jsonl", {"x": "a.jpg"}, {"x": "b.jpg"}))
    (tmp_path / "a.jsonl").write_bytes('{"image": "a.jpg"}'.encode("utf-16"))
    with pytest.raises(ValueError, match="UTF-16"):
        len(Jsonl(tmp_path / "a.jsonl"))


def test_looking_for_columns_goes_no_further_than_it_takes(tmp_path):
    part = rows(tmp_path / "a.jsonl", {"x": 1}, {"snap": "a.jpg"}, {"words": "a cat"})
    Jsonl(part.path, Columns(image="snap")).check()
    Jsonl(part.path, Columns("snap", "words")).check()
    for columns, message in ((Columns(), "hold images"), (Columns("snap", "text"), "no column 'text'")):
        with pytest.raises(ValueError, match=message):
            Jsonl(part.path, columns).check()
    endless = tmp_path / "b.jsonl"
    endless.write_bytes(b'{"image": "a.jpg"}\n' + b"x" * 10)
    Jsonl(endless).check()
