import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.annotation.assistant.foreign_json import Unkeepable, first_object, parse
from foveal.outside import DEEPEST_JSON

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["choices", "message", "content", "usage", "\ud800", "\x00", "\u202e"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "refusal", "usage", "prompt_tokens", "error", "\ud800"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_object_found_in_words_can_be_written_and_read_again(value):
    text = f"Sure: {json.dumps({'answer': value})} Anything else?"
    try:
        found = first_object(text)
    except Unkeepable:
        return
    assert json.loads(json.dumps(found, ensure_ascii=False, allow_nan=False).encode()) == {"answer": value}


def test_nesting_is_bounded_at_one_depth_whatever_the_stack():
    parse("[" * DEEPEST_JSON + "]" * DEEPEST_JSON)
    for depth in (DEEPEST_JSON + 2, 900, 100_000):
        with pytest.raises(Unkeepable, match="nested too deep"):
            parse("[" * depth + "]" * depth)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("none", "no JSON object"),
        ('{"a": ', "JSON is broken"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ('{"\\udfff": 1}', "half of a surrogate pair"),
        ('{"a": [NaN]}', "nan, which is no number"),
        ('{"a": 1e999}', "inf, which is no number"),
    ],
)
def test_what_cannot_be_kept_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        first_object(text)
