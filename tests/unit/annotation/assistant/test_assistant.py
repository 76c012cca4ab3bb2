import gzip
import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from foveal.annotation.assistant.answers import Answer, Spend
from foveal.annotation.assistant.assistant import Assistant, Refused
from foveal.annotation.assistant.endpoint import NoAnswer
from foveal.annotation.stage import Halted

SCHEMA = {
    "type": "object",
    "properties": {"count": {"type": "integer"}},
    "required": ["count"],
    "additionalProperties": False,
}


CALL = Spend(1, 100, 20, (100 * 1.0 + 20 * 10.0) / 1e6)


def paid(assistant, times):
    spend = assistant.answer_store.spent()
    assert (spend.answers, spend.prompt_tokens, spend.completion_tokens) == (times, 100 * times, 20 * times)
    assert spend.cost == pytest.approx(times * CALL.cost)


def test_a_question_is_asked_as_the_protocol_says(chat, reply, assistant, picture):
    chat.reply = lambda turn, body: reply({"count": 3})
    assert assistant.ask("How many?", SCHEMA, picture()) == {"count": 3}
    (body,) = chat.bodies
    assert body["model"] == "tiny-vl"
    assert body["max_tokens"] == 1024
    assert body["temperature"] == 0
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    text, image = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "How many?"}
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert chat.keys == [None]
    paid(assistant, 1)


def test_nothing_is_asked_twice(chat, reply, assistant, picture, tmp_path):
    chat.reply = lambda turn, body: reply({"count": 3})
    file = tmp_path / "same.jpg"
    file.write_bytes(picture())
    for image in (picture(), picture(), file):
        assistant.ask("How many?", SCHEMA, image)
    again = pickle.loads(pickle.dumps(assistant))  # noqa: S301  # as another process gets it
    assert again.ask("How many?", SCHEMA, picture()) == {"count": 3}
    assert len(chat.bodies) == 1
    for question, image in (("How many cups?", picture()), ("How many?", picture(1)), ("How many?", None)):
        again.ask(question, SCHEMA, image)
    assert len(chat.bodies) == 4
    paid(assistant, 4)


def test_a_question_asked_by_many_threads_at_once_is_asked_once(chat, reply, assistant):
    chat.reply = lambda turn, body: reply({"count": 3}, wait=0.1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: assistant.ask("How many?", SCHEMA), range(8)))
    assert answers == [{"count": 3}] * 8
    assert len(chat.bodies) == 1
    paid(assistant, 1)
    assert not assistant._line.keys


def test_no_more_questions_are_under_way_than_allowed(chat, reply, assistant):
    chat.reply = lambda turn, body: reply({"count": 3}, wait=0.05)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: assistant.ask(f"Question {number}", SCHEMA), range(16)))
    assert chat.busiest == assistant.concurrency == 4


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 503, "headers": {"Retry-After": "0.05"}},
        {"status": 429, "headers": {"Retry-After": "0.05"}},
        {"status": 429},
        {"cut": True},
        {"raw": '{"choices": [{"mess'},
        {"raw": "<html>Bad gateway</html>"},
        {"raw": '{"choices": []}'},
    ],
    ids=str,
)
def test_what_passes_is_waited_out_and_paid_once(chat, reply, assistant, trouble):
    chat.reply = lambda turn, body: reply({"count": 3}, **(trouble if turn < 2 else {}))
    assert assistant.ask("How many?", SCHEMA) == {"count": 3}
    assert len(chat.bodies) == 3
    paid(assistant, 1)


def test_an_answer_that_takes_too_long_is_asked_for_again(chat, reply, assistant, tmp_path):
    hasty = Assistant(
        endpoint=chat.url, model="tiny-vl", answers=tmp_path / "hasty.sqlite", timeout=0.2, tries=3, pause=0.01
    )
    chat.reply = lambda turn, body: reply({"count": 3}, wait=0.6 if turn == 0 else 0.0)
    assert hasty.ask("How many?", SCHEMA) == {"count": 3}
    assert len(chat.bodies) == 2
    paid_for = hasty.answer_store.spent()
    assert paid_for.answers == 1
    hasty.close()


GOOD = json.dumps(
    {"choices": [{"message": {"content": '{"count": 3}'}}], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}
).encode()


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ({"flood": 64 << 20}, "more than 4 MiB"),
        ({"raw": gzip.compress(b" " * (64 << 20)), "headers": {"Content-Encoding": "gzip"}}, "more than 4 MiB"),
        ({"raw": b"no gzip", "headers": {"Content-Encoding": "gzip"}}, "cannot be unpacked"),
        ({"raw": b"\x0b\x02\x80", "headers": {"Content-Encoding": "br"}}, "packed as 'br'"),
        ({"pace": 0.05}, "no whole answer within 1 s"),
        ({"pace": 0.05, "slow_headers": True}, "no whole answer within 1 s"),
        ({"wait": 1.5}, "no whole answer within 1 s"),
        ({"raw": "<html>Welcome</html>", "headers": {"Content-Type": "text/html"}}, "JSON is broken"),
        ({"cut": True}, "RemoteProtocolError"),
    ],
    ids=["flood", "bomb", "no gzip", "brotli", "slow body", "slow headers", "late", "page", "cut"],
)
def test_an_answer_without_end_or_sense_fails_one_question_and_never_the_run(chat, reply, tmp_path, trouble, told):
    chat.reply = lambda turn, body: reply({"count": 3}, **(trouble if "many" in str(body) else {}))
    made = Assistant(endpoint=chat.url, model="tiny-vl", answers=tmp_path / "a.sqlite", timeout=1.0, tries=1)
    with pytest.raises(NoAnswer, match=f"no answer from the endpoint: .*{told}"):
        made.ask("How many?", SCHEMA)
    assert made.ask("How old?", SCHEMA) == {"count": 3}
    assert made.answer_store.spent() == Spend(1, 100, 20, 0.0)


def test_a_packed_answer_is_unpacked(chat, reply, assistant):
    chat.reply = lambda turn, body: reply(raw=gzip.compress(GOOD), headers={"Content-Encoding": "gzip"})
    assert assistant.ask("How many?", SCHEMA) == {"count": 3}


def test_a_redirect_is_not_followed(chat, reply, assistant):
    chat.reply = lambda turn, body: reply(status=307, headers={"Location": f"{chat.url}/elsewhere"})
    with pytest.raises(NoAnswer, match=r"HTTP 307 .*it points to http"):
        assistant.ask("How many?", SCHEMA)
    assert len(chat.bodies) == 1


def test_an_answer_that_is_none_is_paid_for_tried_again_and_never_found_again(chat, reply, assistant):
    poison = json.dumps({"choices": None, "usage": {"prompt_tokens": 100, "completion_tokens": "many"}})
    chat.reply = lambda turn, body: reply({"count": 3}, raw=poison if turn < 2 else None)
    assert assistant.ask("How many?", SCHEMA) == {"count": 3}
    assert assistant.ask("How many?", SCHEMA) == {"count": 3}
    assert len(chat.bodies) == 3
    spend = assistant.answer_store.spent()
    assert (spend.answers, spend.prompt_tokens, spend.completion_tokens) == (3, 300, 20)
    assert spend.cost == pytest.approx(CALL.cost + 2 * 100 / 1e6)


def test_an_endpoint_that_answers_with_nonsense_alone_is_not_down(chat, reply, tmp_path):
    chat.reply = lambda turn, body: reply(raw='{"choices": null}')
    made = Assistant(endpoint=chat.url, model="tiny-vl", answers=tmp_path / "a.sqlite", tries=1)
    for number in range(made._line.endpoint.patience + 1):
        with pytest.raises(NoAnswer, match="no message"):
            made.ask(f"Question {number}", SCHEMA)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"count": 3, "\\ud800": 1}', "half of a surrogate pair"),
        ('{"count": ' + "[" * 500 + "]" * 500 + "}", "nested too deep"),
        ('{"count": NaN}', "no number"),
        ('{"count": 3' + " " * 70_000, "70,011 characters long"),
    ],
    ids=["surrogate", "nesting", "nan", "long"],
)
def test_an_answer_that_cannot_be_kept_is_asked_for_once_more(chat, reply, assistant, text, told):
    chat.reply = lambda turn, body: reply({"count": 3} if turn else text)
    assert assistant.ask("How many?", SCHEMA) == {"count": 3}
    assert told in chat.bodies[1]["messages"][-1]["content"]
    paid(assistant, 2)


def test_poison_that_an_earlier_version_kept_is_dropped_with_a_line(chat, reply, assistant, caplog):
    chat.reply = lambda turn, body: reply({"count": 3})
    key = assistant._key("How many?", SCHEMA, None)
    for _ in range(2):
        assistant.answer_store.add(key, Answer('{"count": "\\ud800"}', "stop", 1, 1, 0.0))
    assert assistant.ask("How many?", SCHEMA) == {"count": 3}
    assert caplog.text.count("an answer is dropped: it holds half of a surrogate pair") == 2
    assert len(chat.bodies) == 1


def test_all_callers_wait_when_the_endpoint_asks_for_it(chat, reply, assistant):
    wait = 0.5
    chat.reply = lambda turn, body: (
        reply(status=429, headers={"Retry-After": str(wait)}) if len(chat.bodies) == 1 else reply({"count": 3})
    )
    times = []
    first = threading.Thread(target=assistant.ask, args=("First", SCHEMA))
    first.start()
    while not chat.bodies:
        time.sleep(0.001)
    time.sleep(0.05)
    begin = time.monotonic()
    assistant.ask("Second", SCHEMA)
    times.append(time.monotonic() - begin)
    first.join()
    assert times[0] > wait / 2
    assert len(chat.bodies) == 3


def test_an_answer_that_does_not_fit_is_asked_for_once_more_with_what_is_wrong(chat, reply, assistant):
    chat.reply = lambda turn, body: reply({"count": 3} if turn else {"count": "three"})
    assert assistant.ask("How many?", SCHEMA) == {"count": 3}
    roles = [message["role"] for message in chat.bodies[1]["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert "'three' is not of type 'integer'" in chat.bodies[1]["messages"][-1]["content"]
    paid(assistant, 2)
    assert assistant.ask("How many?", SCHEMA) == {"count": 3}
    paid(assistant, 2)


@pytest.mark.parametrize("text", ["", "three", '{"count": 3', '{"count": 3.5}', '{"number": 3}', "[3]"])
def test_two_answers_that_do_not_fit_are_the_end_and_stay_so(chat, reply, assistant, text):
    chat.reply = lambda turn, body: reply(text)
    for _ in range(2):
        with pytest.raises(NoAnswer, match="answers that do not fit"):
            assistant.ask("How many?", SCHEMA)
        paid(assistant, 2)
    assert len(chat.bodies) == 2


def test_an_assistant_that_tries_again_passes_over_useless_answers_but_not_over_good_ones(chat, reply, assistant):
    chat.reply = lambda turn, body: reply("nonsense")
    with pytest.raises(NoAnswer):
        assistant.ask("How many?", SCHEMA)
    chat.reply = lambda turn, body: reply({"count": 3})
    assistant.ask("How old?", SCHEMA)
    fresh = Assistant(endpoint=chat.url, model="tiny-vl", answers=assistant.answers, fresh=True)
    assert fresh.ask("How many?", SCHEMA) == {"count": 3}
    assert len(chat.bodies) == 4
    assert fresh.ask("How old?", SCHEMA) == fresh.ask("How many?", SCHEMA) == {"count": 3}
    assert len(chat.bodies) == 4
    fresh.close()


def test_words_and_fences_around_the_answer_do_no_harm(chat, reply, assistant):
    chat.reply = lambda turn, body: reply('Sure!\n```json\n{"count": 3}\n```\nAnything else?')
    assert assistant.ask("How many?", SCHEMA) == {"count": 3}


def test_what_a_check_refuses_is_asked_for_again(chat, reply, assistant):
    def even(answer):
        if answer["count"] % 2:
            raise ValueError("the count is odd")
        return answer["count"] // 2

    chat.reply = lambda turn, body: reply({"count": 3 + turn})
    assert assistant.ask("How many?", SCHEMA, check=even) == 2
    assert "the count is odd" in chat.bodies[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    "refusal",
    [
        {"text": "I'm sorry, but I can't help with that."},
        {"text": "", "refusal": "I can't describe people."},
        {"text": "", "finish": "content_filter"},
    ],
    ids=["in words", "in its field", "filtered"],
)
def test_a_refusal_is_paid_once_and_not_argued_with(chat, reply, assistant, refusal):
    chat.reply = lambda turn, body: reply(**refusal)
    for _ in range(2):
        with pytest.raises(Refused, match="refused"):
            assistant.ask("Who is this?", SCHEMA)
    assert len(chat.bodies) == 1
    paid(assistant, 1)


def test_an_answer_cut_off_by_its_limit_says_so(chat, reply, assistant):
    chat.reply = lambda turn, body: reply('{"count": ', finish="length")
    with pytest.raises(NoAnswer, match="cut off at 20 tokens"):
        assistant.ask("How many?", SCHEMA)


def test_a_server_without_structured_output_is_asked_without(chat, reply, assistant):
    def plain(turn, body):
        if "response_format" in body:
            return reply(status=400, raw=json.dumps({"error": {"message": "response_format is not supported"}}))
        return reply({"count": 3})

    chat.reply = plain
    assert assistant.ask("How many?", SCHEMA) == assistant.ask("How old?", SCHEMA) == {"count": 3}
    assert ["response_format" in body for body in chat.bodies] == [True, False, False]


def test_a_question_that_the_server_cannot_take_is_given_up_at_once(chat, reply, assistant):
    chat.reply = lambda turn, body: reply(status=413)
    with pytest.raises(NoAnswer, match="HTTP 413 made to fail with 413"):
        assistant.ask("How many?", SCHEMA)
    assert len(chat.bodies) == 1
    paid(assistant, 0)


def test_a_question_in_vain_is_given_up_and_the_next_is_asked(chat, reply, assistant):
    chat.reply = lambda turn, body: reply({"count": 3}, status=500 if "many" in str(body) else 200)
    with pytest.raises(NoAnswer, match="HTTP 500"):
        assistant.ask("How many?", SCHEMA)
    assert len(chat.bodies) == assistant.tries
    assert assistant.ask("How old?", SCHEMA) == {"count": 3}


def test_an_endpoint_that_never_answers_counts_as_down(chat, reply, assistant):
    chat.reply = lambda turn, body: reply(status=400)
    for number in range(19):
        with pytest.raises(NoAnswer):
            assistant.ask(f"Question {number}", SCHEMA)
    with pytest.raises(Halted, match="answered none of the last 20 questions"):
        assistant.ask("Question 19", SCHEMA)


def test_an_endpoint_that_is_down_halts_with_what_to_check(assistant, chat):
    chat.close()
    with pytest.raises(Halted, match=r"cannot be reached .* Check that the server runs"):
        assistant.ask("How many?", SCHEMA)
    begin = time.monotonic()
    with pytest.raises(Halted):  # nobody else waits for it any more
        assistant.ask("How old?", SCHEMA)
    assert time.monotonic() - begin < 0.5
    chat.__init__()  # for the fixture, which closes it


@pytest.mark.parametrize(
    ("status", "told"), [(401, "refuses the key"), (403, "refuses the key"), (402, "paid"), (404, "It serves: tiny-vl")]
)
def test_what_will_not_pass_halts_at_once(chat, reply, assistant, status, told):
    chat.reply = lambda turn, body: reply(status=status)
    with pytest.raises(Halted, match=told):
        assistant.ask("How many?", SCHEMA)
    assert len(chat.bodies) == 1


def test_the_key_comes_from_the_environment_and_is_in_no_text(chat, reply, tmp_path, monkeypatch):
    monkeypatch.setenv("CHAT_KEY", "sesame")
    chat.reply = lambda turn, body: reply({"count": 3}) if turn else reply(status=401)
    given = {"endpoint": chat.url, "model": "tiny-vl", "answers": tmp_path / "a.sqlite", "key_variable": "CHAT_KEY"}
    assistant = Assistant(**given)
    with pytest.raises(Halted, match="what CHAT_KEY holds") as caught:
        assistant.ask("How many?", SCHEMA)
    assert chat.keys == ["Bearer sesame"]
    assert Assistant(**given).ask("How many?", SCHEMA) == {"count": 3}
    for text in (str(caught.value), repr(assistant), str(pickle.dumps(assistant))):
        assert "sesame" not in text
    assert b"sesame" not in (tmp_path / "a.sqlite").read_bytes()
    monkeypatch.delenv("CHAT_KEY")
    with pytest.raises(ValueError, match="CHAT_KEY is empty"):
        Assistant(**given)


def test_settings_that_cannot_be_are_refused(tmp_path):
    given = {"model": "tiny-vl", "answers": tmp_path / "a.sqlite"}
    with pytest.raises(ValueError, match=r"'localhost:8000' is no address"):
        Assistant(endpoint="localhost:8000", **given)
    with pytest.raises(ValueError, match=r"'http://\[::1' is no address"):
        Assistant(endpoint="http://[::1", **given)
    for extra in ("{", "[]"):
        with pytest.raises(ValueError, match=r"assistant.extra"):
            Assistant(endpoint="http://localhost:1/v1", extra=extra, **given)


def test_further_fields_are_added_and_taken_away(chat, reply, assistant, tmp_path):
    chat.reply = lambda turn, body: reply({"count": 3})
    extra = json.dumps({"top_p": 0.5, "max_tokens": None, "max_completion_tokens": 99})
    other = Assistant(endpoint=chat.url, model="tiny-vl", answers=assistant.answers, extra=extra)
    other.ask("How many?", SCHEMA)
    (body,) = chat.bodies
    assert body["top_p"] == 0.5
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 99


def test_pictures_are_sent_upright_as_jpeg_and_scaled_down(chat, reply, assistant, picture):
    from base64 import b64decode
    from io import BytesIO

    def sent(image):
        assistant.ask("How many?", SCHEMA, image)
        content = b64decode(chat.bodies[-1]["messages"][0]["content"][1]["image_url"]["url"].partition(",")[2])
        return content, Image.open(BytesIO(content))

    chat.reply = lambda turn, body: reply({"count": 3})
    small = picture()
    assert sent(small)[0] == small
    assert sent(picture(1, size=(3000, 1500)))[1].size == (1024, 512)
    assert sent(picture(2, "PNG"))[1].format == "JPEG"
    turned = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(turned, "JPEG", exif=exif)
    assert sent(turned.getvalue())[1].size == (20, 40)
    large = picture(3)  # of 192 million pixels, as its header says, which Pillow alone refuses to open
    frame = large.index(b"\xff\xc0")
    large = large[: frame + 5] + (12_000).to_bytes(2, "big") + (16_000).to_bytes(2, "big") + large[frame + 9 :]
    assert sent(large)[1].size == (1024, 768)
    with pytest.raises(ValueError, match="cannot be read"):
        assistant.ask("How many?", SCHEMA, b"no picture")
    paid(assistant, 5)
