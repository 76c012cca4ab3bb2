"""A remote model answers in words, in order, and is measured by the protocols of local ones."""

import json

import pytest

from foveal.annotation.assistant.answerer import RemoteAnswerer
from foveal.annotation.assistant.endpoint import Endpoint, NoAnswer
from foveal.cli.main import main
from foveal.evaluation.answers import measure_answers


def test_answers_come_in_the_order_of_the_questions_whichever_is_first(chat, reply, picture):
    waits = {"a": 0.1, "b": 0.0, "c": 0.05}

    def echo(turn, body):
        word = body["messages"][0]["content"][0]["text"].removesuffix("?")
        return reply(f" {word} ", wait=waits[word])

    chat.reply = echo
    model = RemoteAnswerer(Endpoint(url=chat.url), "tiny-vl", suffix="?", most_new=5)
    assert model.answer([picture(number) for number in range(3)], list("abc")) == list("abc")
    assert {(body["model"], body["max_tokens"], body["temperature"]) for body in chat.bodies} == {("tiny-vl", 5, 0)}
    with pytest.raises(ValueError, match="1 pictures and 2 questions"):
        model.answer([picture()], list("ab"))


def test_a_question_without_an_answer_is_no_wrong_answer(chat, reply, picture):
    chat.reply = lambda turn, body: reply(status=500)
    with pytest.raises(NoAnswer, match="HTTP 500"):
        RemoteAnswerer(Endpoint(url=chat.url, tries=2, pause=0.01), "tiny-vl").answer([picture()], ["a"])


def test_a_name_says_address_and_model(chat):
    model = RemoteAnswerer.of(f"endpoint:{chat.url}#owner/name")
    assert (model.endpoint.url, model.model) == (chat.url, "owner/name")
    with pytest.raises(ValueError, match="lacks address or model"):
        RemoteAnswerer.of(f"endpoint:{chat.url}")


def test_the_command_measures_an_endpoint_by_pope(chat, reply, picture, tmp_path, capsys):
    rows = [
        {"question_id": number, "image": "COCO_val2014_000000000001.jpg", "text": f"Is there a {thing} in the image?"}
        for number, thing in enumerate(("cat", "dog"))
    ]
    lines = [json.dumps(row | {"label": label}) for row, label in zip(rows, ("yes", "no"), strict=True)]
    (tmp_path / "pope").mkdir()
    (tmp_path / "pope" / "coco_pope_random.json").write_text("\n".join(lines))
    (tmp_path / "coco" / "val2014").mkdir(parents=True)
    (tmp_path / "coco" / "val2014" / rows[0]["image"]).write_bytes(picture())
    chat.reply = lambda turn, body: reply("yes" if "cat" in body["messages"][0]["content"][0]["text"] else "No.")
    report = measure_answers(RemoteAnswerer.of(f"endpoint:{chat.url}#tiny-vl"), ["pope@random"], [tmp_path])
    (by_rule,) = report.results.values()
    accuracy = {rule: result.metrics["accuracy"].value for rule, result in by_rule.items()}
    assert accuracy == {"yes_no_llava": 100.0, "yes_no_lmms": 50.0}  # "No." is no "no" to lmms-eval
    assert main(["eval", f"endpoint:{chat.url}#tiny-vl", "pope@random", "--root", str(tmp_path)]) == 0
    assert "tiny-vl" in capsys.readouterr().out
    assert [body["max_tokens"] for body in chat.bodies] == [64, 64, 16, 16]
