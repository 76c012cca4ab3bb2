import pytest
from jsonschema import Draft202012Validator

from foveal.annotation.assistant.items import by_index, items_schema, numbered_lines

ANSWER = {"items": [{"number": 2, "color": "red"}, {"number": 1, "color": "blue"}, {"number": 2.0, "color": "tan"}]}


def test_phrases_are_numbered_from_one_a_line_each():
    assert numbered_lines(["a dog", "a cat"]) == "1. a dog\n2. a cat"
    assert numbered_lines([]) == ""


def test_items_come_with_the_index_of_their_phrase():
    assert [(index, item["color"]) for index, item in by_index(ANSWER, 2)] == [(1, "red"), (0, "blue"), (1, "tan")]


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_number_of_no_phrase_is_refused(number):
    with pytest.raises(ValueError, match=f"number {number} is none of the phrases, which go from 1 to 2"):
        list(by_index({"items": [{"number": number, "color": "red"}]}, 2))


@pytest.mark.parametrize(
    ("answer", "is_valid"),
    [
        (ANSWER, True),
        ({"items": []}, True),
        ({}, False),
        ({"items": [{"number": 1}]}, False),
        ({"items": [{"color": "red"}]}, False),
        ({"items": [{"number": 1.5, "color": "red"}]}, False),
        ({"items": [{"number": 1, "color": 7}]}, False),
        ({"items": [{"number": 1, "color": "red", "size": "large"}]}, False),
        ({"items": [], "more": 1}, False),
    ],
)
def test_the_schema_asks_for_a_number_and_one_field_and_nothing_else(answer, is_valid):
    assert Draft202012Validator(items_schema("color", {"type": "string"})).is_valid(answer) == is_valid
