import re
from dataclasses import replace

import pytest

from foveal.annotation.assistant.assistant import Refused
from foveal.annotation.assistant.endpoint import NoAnswer
from foveal.annotation.assistant.prompt import FOLDER, fill
from foveal.annotation.assistant.refusal import refuses
from foveal.annotation.stages.caption import Caption
from foveal.annotation.stages.settings import Settings


def test_a_picture_gets_a_long_caption_and_keeps_its_alt_text(chat, assistant, samples):
    stage = Caption.of(Settings(assistant=assistant))
    assert stage.concurrency == 5  # questions at once are 4: one more prepares its picture
    captioned = stage(samples[0])
    assert captioned == replace(samples[0], long_caption="A red cup stands on a small wooden table beside a blue book.")
    assert stage(replace(samples[0], captions=())).captions == ("A red cup.",)
    assert stage(replace(samples[0], captions=("",))).captions == ("A red cup.",)
    assert len(chat.bodies) == 1


def test_what_has_a_long_caption_is_left_alone_unless_told_otherwise(chat, assistant, samples):
    done = replace(samples[0], long_caption="Here already.")
    assert Caption(assistant=assistant)(done) is done
    assert not chat.bodies
    again = Caption(assistant=assistant, replace_captions=True)(done)
    assert (again.captions, again.long_caption[:9]) == (("A red cup.",), "A red cup")


def test_captions_stand_on_one_line(chat, reply, assistant, samples):
    chat.reply = lambda turn, body: reply({"long_caption": " One.\n\nTwo.\t", "short_caption": "Short.\n"})
    captioned = Caption(assistant=assistant)(replace(samples[0], captions=()))
    assert (captioned.long_caption, captioned.captions) == ("One. Two.", ("Short.",))


def test_an_empty_caption_is_asked_for_again_and_then_given_up(chat, reply, assistant, samples):
    chat.reply = lambda turn, body: reply({"long_caption": " \n", "short_caption": "Short."})
    with pytest.raises(NoAnswer, match="answers that do not fit: a caption is empty"):
        Caption(assistant=assistant)(samples[0])
    assert len(chat.bodies) == 2


def test_a_refusal_dressed_as_a_caption_is_one(chat, reply, assistant, samples):
    chat.reply = lambda turn, body: reply({"long_caption": "I'm unable to view images.", "short_caption": "None."})
    with pytest.raises(Refused):
        Caption(assistant=assistant)(samples[0])
    assert len(chat.bodies) == 1


def test_without_an_endpoint_there_is_no_caption_stage():
    with pytest.raises(ValueError, match="Stage 'caption' asks a model: name one with --endpoint and --model"):
        Caption.of(Settings())


def test_a_prompt_of_ones_own_is_asked_and_is_another_question(chat, assistant, samples, tmp_path):
    own = tmp_path / "mine.txt"
    own.write_text("Say what you see, and what it costs: $$5.\n")
    Caption(assistant=assistant)(samples[0])
    Caption(assistant=assistant, prompt=str(own))(samples[0])
    asked = [body["messages"][0]["content"][0]["text"] for body in chat.bodies]
    assert asked == [fill("caption.v1"), "Say what you see, and what it costs: $5."]


def test_prompts_that_cannot_be_filled_say_so(tmp_path):
    with pytest.raises(ValueError, match=r"no prompt 'caption.v0'. Give a text file, or one of: caption.v1, ground.v1"):
        fill("caption.v0")
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("Tell me of $colour.")
    with pytest.raises(ValueError, match=r"wrong placeholder \('colour'\). It may use: \$phrases"):
        fill(str(wrong), phrases="1. a cup")


@pytest.mark.parametrize("name", [path.stem for path in sorted(FOLDER.glob("*.txt"))])
def test_every_prompt_ends_with_the_form_of_its_answer(name):
    values = {"caption.v1": {}, "negatives.v1": {"count": 10, "phrases": "1. a cup", "caption": ""}}
    text = fill(name, **values.get(name, {"phrases": "1. a cup"}))
    assert re.search(r'Answer with one JSON object and nothing else[^{]*\{".*\}$', text, re.DOTALL)
    assert "$" not in text


REFUSALS = (
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, I can’t help with identifying people.",
    "I cannot see the image you mention.",
    "I am unable to view the picture.",
    "Unfortunately, I can't process this image.",
    "As an AI language model, I do not have eyes.",
    "There is no image attached to your message.",
    "Sorry, no image was provided. However, I can describe cats in general.",
    "The picture shows a man, but I cannot identify him.",
    "I do not have the ability to view images.",
)
CAPTIONS = (
    "A sorry sight: a wet dog that cannot get in.",
    'A sign reads "Sorry, we\'re closed" in red letters.',
    "The man in the picture cannot be seen clearly behind the window.",
    "A street without cars, no people in sight.",
    "Two robots labeled 'AI assistant' stand in a hall.",
    "An unfortunate cyclist lies beside a bent bicycle.",
    "I-beams of steel lie on a truck.",
    "A poster says I can do it.",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_recognized(text):
    assert refuses(text)


@pytest.mark.parametrize("text", CAPTIONS)
def test_captions_are_no_refusals(text):
    assert not refuses(text)


def test_captions_of_people_are_no_refusals(shared_data):
    import json

    rows = json.loads((shared_data / "captions" / "docci_test_captions.json").read_text())
    texts = [text for row in (rows.values() if isinstance(rows, dict) else rows) for text in _texts(row)]
    texts = [text for text in texts if len(text.split()) > 5]
    assert len(texts) > 1000
    refused = [text for text in texts if refuses(text)]
    assert not refused, refused[:3]


def _texts(row):
    if isinstance(row, str):
        return [row]
    return [text for value in (row.values() if isinstance(row, dict) else row) for text in _texts(value)]
