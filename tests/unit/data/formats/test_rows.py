import pytest

from foveal.data.formats.rows import checked_box, row_from_sample, sample_from_row
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


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([], "no object"),
        ({}, "no 'id'"),
        ({"id": 3}, "'id' must be a text"),
        ({"id": "a", "captions": "a cat"}, "'captions' must be a list"),
        ({"id": "a", "captions": [3]}, "'captions' must hold texts"),
        ({"id": "a", "long_caption": ["x"]}, "'long_caption' must be a text"),
        ({"id": "a", "regions": ["x"]}, "region 'x'"),
        ({"id": "a", "regions": [{"box": [0, 0, 1, 1]}]}, "no 'phrase'"),
        ({"id": "a", "regions": [{"phrase": "x"}]}, "box None"),
        ({"id": "a", "caption_negatives": [3]}, "negative 3"),
    ],
)
def test_what_is_no_row_is_refused_by_name(row, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sample_from_row(row, b"")


def test_boxes_are_cut_to_the_image():
    assert checked_box([-0.005, 0.25, 1.005, 0.5]) == (0.0, 0.25, 1.0, 0.5)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0, 0, 1], "four numbers"),
        ("0011", "four numbers"),
        ([0, 0, 1, float("nan")], "four numbers"),
        ([0, 0, 20, 10], "not pixels"),
        ([-0.5, 0, 1, 1], "outside"),
        ([0.5, 0, 0.5, 1], "no area"),
        ([0, 0.6, 1, 0.5], "no area"),
        ([1.001, 0, 1.005, 1], "no area"),
    ],
)
def test_what_is_no_box_is_refused(box, message):
    with pytest.raises(ValueError, match=message):
        checked_box(box)
