import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.annotation.assistant.completion import Completion, Malformed, Usage, read_completion

USAGE = {"prompt_tokens": 7, "completion_tokens": 3}


def body(message=None, usage=USAGE, finish="stop", **more):
    message = {"content": "a cup"} if message is None else message
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage, **more}).encode()


def test_a_completion_is_read_as_the_protocol_says():
    assert read_completion(body()) == Completion("a cup", "stop", Usage(7, 3))
    assert read_completion(b"\xef\xbb\xbf" + body()).text == "a cup"
    assert read_completion(body(finish=None)).finish == "stop"
    assert read_completion(body({"content": None, "refusal": "No."})) == Completion("No.", "refusal", Usage(7, 3))
    assert read_completion(body({"content": None}, finish="length")) == Completion("", "length", Usage(7, 3))
    assert read_completion(body({})).text == ""


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": 0.0, "total_tokens": "x"}])
def test_an_answer_may_say_nothing_of_its_usage(usage):
    assert read_completion(body(usage=usage)).usage == Usage(0, 0)


def test_a_content_in_parts_is_their_texts_one_behind_the_other():
    parts = ["a ", {"type": "text", "text": "red "}, {"type": "thinking", "thinking": "hm"}, {"text": "cup"}]
    assert read_completion(body({"content": parts})).text == "a red cup"
    assert read_completion(body({"content": []})).text == ""


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "JSON is broken"),
        (b"<html>Welcome</html>", "JSON is broken"),
        (b"null", "no JSON object"),
        (b"[]", "no JSON object"),
        (body() + b"{}", "followed by something else"),
        (b"\xff\xfe" + body().decode().encode("utf-16-le"), "not UTF-8"),
        (body().replace(b"a cup", b"r\xe9"), "not UTF-8"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
        (b'{"choices": ' + b"[" * 500 + b"]" * 500 + b"}", "nested too deep"),
        (b'{"error": {"message": "no\\n money"}}', "an error: no money"),
        (b"{}", "no message"),
        (b'{"choices": null}', "no message"),
        (b'{"choices": {"0": 1}}', "no message"),
        (b'{"choices": [null]}', "no message"),
        (b'{"choices": [{"text": "a cup"}]}', "no message"),
        (b'{"choices": [{"message": "a cup"}]}', "no message"),
        (body({"content": 7}), "content is no text"),
        (body({"content": {"text": "a cup"}}), "content is no text"),
        (body({"content": "a cup", "refusal": ["No."]}), "refusal is no text"),
        (body(finish=3), "finish_reason is no text"),
        (body({"content": [7]}), "a part that is none"),
        (body({"content": [{"type": "text"}]}), "a part without a text"),
        (body({"content": "half \ud800"}), "half of a surrogate pair"),
        (body({"content": None, "refusal": "\udfff"}), "half of a surrogate pair"),
        (body(finish="\ud83d"), "half of a surrogate pair"),
        (b'{"n": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_protocol_does_not_say_is_refused_in_a_few_words(raw, reason):
    with pytest.raises(Malformed, match=reason):
        read_completion(raw)


NONSENSE = ["7", "many", -1, 1.5, 1e30, 10**400, True, [7], {}, float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("count", NONSENSE, ids=str)
def test_a_count_that_is_none_is_refused_and_the_other_one_is_paid(count):
    with pytest.raises(Malformed, match="usage is no number of tokens") as caught:
        read_completion(body(usage={"prompt_tokens": 7, "completion_tokens": count}))
    assert caught.value.usage == Usage(7, 0)


@pytest.mark.parametrize("usage", [7, "7", [7], True, float("nan")], ids=str)
def test_a_usage_that_is_none_is_refused(usage):
    with pytest.raises(Malformed, match="usage is no number of tokens"):
        read_completion(body(usage=usage))


def test_what_is_refused_for_its_message_is_paid_for():
    with pytest.raises(Malformed) as caught:
        read_completion(body({"content": 7}))
    assert caught.value.usage == Usage(7, 3)


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


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_a_completion_that_utf_8_can_hold_or_malformed(raw):
    try:
        completion = read_completion(raw)
    except Malformed as error:
        completion = Completion(str(error), "malformed", error.usage)
    assert (completion.text + completion.finish).encode()
    usage = completion.usage
    assert 0 <= usage.prompt_tokens <= 10**9
    assert 0 <= usage.completion_tokens <= 10**9
