from dataclasses import replace

import pytest

import foveal
from foveal.data.tokenizer import Tokenizer
from foveal.encoder.protocol import Protocol
from foveal.models import weights
from foveal.models.dual_encoder import DualEncoder
from foveal.recipes.clip import smoke
from foveal.training import start as module
from foveal.training.start import train


def test_a_training_that_begins_badly_leaves_no_folder(tmp_path):
    out = tmp_path / "run"
    for data, init, message in ((["nowhere.tar"], None, "No such file"), ([], tmp_path / "none", "There is no")):
        with pytest.raises(ValueError, match=message):
            train(smoke(), out, data=data, init=init, changes=[], progress=False)
        assert not out.exists()


@pytest.fixture
def begun(monkeypatch):
    """What would have been trained."""
    calls = []
    monkeypatch.setattr(module, "fit", lambda run, out, **options: calls.append((run, options)) or out)
    return calls


def test_data_and_changes_replace_those_of_the_recipe(begun, tmp_path):
    train(smoke(), tmp_path, data=["a.tar", "b.tar"], changes=["steps=7", "data.weights=1,3"])
    run, options = begun[0]
    data = replace(smoke().data, sources=("a.tar", "b.tar"), weights=(1.0, 3.0))
    assert run == replace(smoke(), data=data, steps=7)
    assert (options["init"], options["resume"], options["world"].size) == (None, False, 1)


def test_without_data_the_recipes_own_is_read(begun, tmp_path):
    train(smoke(), tmp_path, data=[], changes=[], init=tmp_path, resume=True)
    assert begun[0][0] == smoke()
    assert begun[0][1]["resume"]
    assert begun[0][1]["init"] == tmp_path


def test_data_of_ones_own_kind_takes_no_sources(small, begun, tmp_path):
    with pytest.raises(ValueError, match="The data of 'small' is RandomData, no Feed"):
        train(small.small_run(), tmp_path, data=["a.tar"], changes=[])
    assert begun == []


@pytest.mark.slow
def test_a_training_hands_on_the_protocol_of_its_beginning(tmp_path):
    init, out = tmp_path / "init", tmp_path / "out"
    weights.save(DualEncoder(smoke().model), init)
    gray = Protocol(family="clip", resize="squash", mean=(0.5, 0.5, 0.5), source="someone/clip", licence="mit")
    gray.write(init)
    train(smoke(), out, data=["scenes:count=16"], init=init, changes=["steps=3"], progress=False)
    train(smoke(), out, data=["scenes:count=16"], resume=True, changes=["steps=6"], progress=False)
    way = replace(gray, resize=Protocol.of(smoke().data.transform, Tokenizer()).resize)
    for folder in (out, out / "checkpoints/step-000003", out / "checkpoints/step-000006"):
        assert foveal.load(folder).protocol == way
