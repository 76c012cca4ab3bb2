from dataclasses import replace

import pytest

from foveal.annotation.assistant.assistant import Refused
from foveal.annotation.assistant.endpoint import NoAnswer
from foveal.annotation.assistant.prompt import fill
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
