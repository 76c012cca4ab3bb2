from pathlib import Path

import pytest

from foveal.annotation.stages.lookup import STAGES, assemble, assistant_of, build
from foveal.annotation.stages.settings import Settings


def test_an_unknown_stage_is_answered_with_those_there_are():
    with pytest.raises(
        ValueError, match=r"no stage 'caption_'. There are: caption, phrases, ground, negatives, filter"
    ):
        build(["phrases", "caption_"], Settings())
    with pytest.raises(ValueError, match="no stage ''"):
        build([], Settings())
    with pytest.raises(ValueError, match=r"'phrases' stands twice"):
        build(["phrases", "phrases"], Settings())


def test_stages_come_in_the_order_wanted():
    assert list(build(["negatives", "phrases"], Settings())) == ["negatives", "phrases"]


def test_half_an_assistant_is_refused(tmp_path):
    file = tmp_path / "answers.sqlite"
    assert assistant_of(None, None, file) is None
    assert assistant_of("http://localhost:1/v1", "tiny", file).model == "tiny"
    for half in (("http://localhost:1/v1", None), (None, "tiny")):
        with pytest.raises(ValueError, match="give both --endpoint and --model"):
            assistant_of(*half, file)


def test_fields_of_stages_and_of_settings_are_changed_by_name(tmp_path):
    own = tmp_path / "own.txt"
    assistant = assistant_of("http://localhost:1/v1", "tiny", tmp_path / "answers.sqlite")
    changes = [f"caption.prompt={own}", "assistant.concurrency=64", "seed=3", "assistant.answers=elsewhere.sqlite"]
    settings, stages = assemble(["caption"], Settings(assistant=assistant), changes)
    assert settings.seed == 3
    assert stages["caption"].prompt == str(own)
    assert stages["caption"].assistant is settings.assistant
    assert settings.assistant.concurrency == 64
    assert settings.assistant.answer_store.path == Path("elsewhere.sqlite")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("caption.prompt=x", r"'caption.prompt=x' changes a stage that does not run. Running: phrases"),
        ("assistant.timeout=3", "no assistant to change"),
        ("colour=red", "Settings has no 'colour'. It has: assistant, encoder"),
        ("phrases.colour=red", "has no 'colour'"),
    ],
)
def test_changes_that_would_change_nothing_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        assemble(["phrases"], Settings(), [change])


def test_every_stage_of_the_house_is_listed():
    assert list(STAGES) == ["caption", "phrases", "ground", "negatives", "filter"]
