import pytest

from foveal.data.formats.rows import joined, picture_of, row_from_sample, sample_from_row
from foveal.types import Negative, Region, Sample


def test_a_row_says_only_what_there_is():
    assert row_from_sample(Sample("a", b"")) == {"id": "a"}
    region = Region((0.0, 0.0, 1.0, 1.0), "cup", (Negative("dish", "object"), Negative("cap")))
    assert row_from_sample(Sample("a", b"", regions=(region,)))["regions"] == [
        {"box": [0, 0, 1, 1], "phrase": "cup", "negatives": [{"text": "dish", "kind": "object"}, {"text": "cap"}]}
    ]


def test_a_negative_may_be_a_bare_text_and_null_is_nothing():
    row = {"id": "a", "caption_negatives": ["no"], "captions": None, "long_caption": None, "other": 3}
    assert sample_from_row(row, b"") == Sample("a", b"", caption_negatives=(Negative("no"),))


@pytest.mark.parametrize(("row", "message"), [([], "no object"), ({}, "no 'id'"), ({"id": None}, "no 'id'")])
def test_what_is_no_row_is_refused_by_name(row, message):
    with pytest.raises(TypeError, match=message):
        sample_from_row(row, b"")


BOX = [0.0, 0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("part", "note"),
    [
        ({"id": ["x"]}, "id that is neither a text nor a whole number: ['x']"),
        ({"id": 1.5}, "id that is neither a text nor a whole number: 1.5"),
        ({"captions": ["a cat", 3]}, "no text in 'captions': 3"),
        ({"captions": ["a cat", None]}, "no text in 'captions': None"),
        ({"captions": [{"raw": "a cat"}, {"url": "x"}]}, "no text in 'captions': {'url': 'x'}"),
        ({"captions": ["a cat", "\ud83d"]}, "half a character in 'captions': '\\ud83d'"),
        ({"captions": ["a cat", ["b"]]}, "no text in 'captions': ['b']"),
        ({"long_caption": {"x": 1}}, "no text in 'long_caption': {'x': 1}"),
        ({"long_caption": ["long", "other"]}, "a further long caption: 'other'"),
        ({"regions": "x"}, "no list in 'regions': 'x'"),
        ({"regions": ["x"]}, "region that is no object: 'x'"),
        ({"regions": [{"box": BOX}]}, "region without a phrase: None"),
        ({"regions": [{"box": BOX, "phrase": " "}]}, "region without a phrase: ' '"),
        ({"regions": [{"phrase": "x"}]}, "box that is not four numbers (x0, y0, x1, y1): None"),
        ({"regions": [{"phrase": "x", "box": [0, 0, 0, 1]}]}, "box without area: [0, 0, 0, 1]"),
        ({"regions": [{"phrase": "x", "box": BOX, "negatives": [3]}]}, "no text in 'negatives': 3"),
        ({"caption_negatives": [3]}, "no text in 'caption_negatives': 3"),
        ({"caption_negatives": "x"}, "no list in 'caption_negatives': 'x'"),
    ],
)
def test_one_odd_part_costs_itself_alone_and_is_named(part, note):
    good = {"box": BOX, "phrase": "cup", "negatives": ["dish"]}
    row = {"id": "a", "captions": ["a cat"], "regions": [good], "caption_negatives": ["a dog"], **part}
    if "regions" in part and isinstance(part["regions"], list):
        row["regions"] = [*part["regions"], good]
    sample = sample_from_row(row, b"", id="known")
    assert sample.notes == (note,)
    assert sample.id == ("known" if "id" in part else "a")
    assert sample.captions == ("a cat",)
    if part.get("regions") != "x":
        assert sample.regions[-1] == Region((0.0, 0.0, 0.5, 1.0), "cup", (Negative("dish"),))


@pytest.mark.parametrize("blank", ["", "  ", "\n\t", None, [], [" "], float("nan"), ["", {"raw": " "}]])
def test_blank_texts_are_no_texts(blank):
    sample = sample_from_row({"id": "a", "captions": blank, "long_caption": blank}, b"")
    assert (sample.captions, sample.long_caption, sample.notes) == ((), "", ())


@pytest.mark.parametrize("number", [7, 7.0, "7"])
def test_whole_numbers_are_ids(number):
    assert sample_from_row({"id": number}, b"").id == "7"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("a.jpg", "a.jpg"),
        (b"x", b"x"),
        ({"bytes": b"x", "path": "a.jpg"}, b"x"),
        ({"bytes": None, "path": "a.jpg"}, "a.jpg"),
        ([{"bytes": b"x"}], b"x"),
    ],
)
def test_a_picture_is_a_path_or_bytes_or_a_struct_of_both(image, expected):
    assert picture_of({"image": image}) == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": {"bytes": None}}, "'image' is empty"),
        ({"image": " "}, "'image' is empty"),
        ({"image": 3}, "must be a path or bytes, not 3"),
        ({"image": ["a.jpg", "b.jpg"]}, "must be a path or bytes"),
        ({"image": "https://example.org/a.jpg"}, "an address, not a file"),
        ({"image": "data:image/png;base64,iVBO"}, "an address, not a file"),
        ({"image": "a\0.jpg"}, "no name of a file"),
        ({"image": "\ud83d.jpg"}, "no name of a file"),
        ({"snapshot": "a.jpg"}, r"There are: snapshot\. Name another column: --image-column"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(row, message):
    with pytest.raises(ValueError, match=message):
        picture_of(row)


def test_the_folder_of_a_picture_may_stand_in_a_column_of_its_own():
    """Karpathy's splits of COCO have "filepath": "val2014" beside the name."""
    assert picture_of({"filepath": "val2014", "filename": "1.jpg"}) == "val2014/1.jpg"
    assert picture_of({"filepath": "x/2.jpg", "filename": "1.jpg"}) == "1.jpg"


def test_rows_of_one_image_say_all_that_is_said_once():
    region = Region((0.0, 0.0, 1.0, 1.0), "cup")
    rows = [
        Sample("1", b"", ("a", "b"), notes=("n",)),
        Sample("2", b"", ("b", "c"), "long", (region,), long_caption_negatives=(Negative("no"),)),
        Sample("3", b"", (), "", (region,), notes=("m",)),
    ]
    whole = Sample("1", b"", ("a", "b", "c"), "long", (region,), long_caption_negatives=(Negative("no"),))
    assert joined(rows) == whole
    assert joined(rows).notes == ("n", "m")
