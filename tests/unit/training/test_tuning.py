"""Trainings that change few weights: what is written, opened and gone on from."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from foveal.models.weights import load
from foveal.training import state
from foveal.training.logbook import read
from foveal.training.trainer import fit

LORA = ("steps=4", "machine.checkpoint_every=2", "tuning.rank=2", "tuning.towers=vision", "tuning.frozen=text")


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def begun(small, tmp_path_factory):
    """A model to begin from."""
    return fit(small.small_run("steps=1"), tmp_path_factory.mktemp("begun") / "run", progress=False)


@pytest.fixture(scope="module")
def finished(small, begun, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "SMALL", 0)
        return fit(small.small_run(*LORA), tmp_path_factory.mktemp("lora") / "run", init=begun, progress=False)


def test_frozen_weights_come_out_as_they_went_in_and_adapters_are_merged(begun, finished):
    before, after = weights(begun), weights(finished)
    assert before.keys() == after.keys()
    changed = {name for name, tensor in after.items() if not tensor.equal(before[name])}
    maps = {name for name in before if name.startswith("vision.transformer") and name.endswith(".weight")}
    maps = {name for name in maps if "norm" not in name}
    assert maps <= changed
    assert not any(name.startswith("text.") or (name.startswith("vision.") and name not in maps) for name in changed)
    for name in maps:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) <= 2


def test_a_checkpoint_holds_what_is_trained_and_opens_as_a_model(begun, finished):
    place = finished / "checkpoints/step-000004"
    assert not any(name.startswith("text.") or name.endswith("norm1.bias") for name in weights(place))
    model, start = load(place).state_dict(), weights(begun)
    assert model["text.token_embedding.weight"].equal(start["text.token_embedding.weight"])
    assert not model["vision.transformer.blocks.0.mlp.fc1.weight"].equal(
        start["vision.transformer.blocks.0.mlp.fc1.weight"]
    )
    names = load_file(place / "training.safetensors")
    assert not any("/optimizer/text." in name for name in names)


def test_it_resumes_bit_for_bit_without_the_beginning(small, begun, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "SMALL", 0)
    folder = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(folder / "checkpoints/step-000004")
    (folder / "model.safetensors").unlink()
    fit(small.small_run(*LORA), folder, resume=True, progress=False)
    assert all(weights(folder)[name].equal(tensor) for name, tensor in weights(finished).items())
    assert [line["loss"] for line in read(folder / "log.jsonl")] == [
        line["loss"] for line in read(finished / "log.jsonl")
    ]


def test_a_result_may_refer_to_its_frozen_weights(small, begun, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "SMALL", 0)
    run = small.small_run(*LORA, "machine.self_contained=false")
    folder = fit(run, tmp_path / "run", init=begun, progress=False)
    assert not any(name.startswith("text.") for name in weights(folder))
    torch.testing.assert_close(dict(load(folder).state_dict()), weights(finished), rtol=1e-6, atol=1e-7)
    (folder / "frozen/frozen.safetensors").unlink()
    with pytest.raises(ValueError, match="lacks its frozen weights"):
        load(folder)


def test_frozen_weights_of_a_few_rows_stay_in_the_checkpoint(small, tmp_path):
    folder = fit(small.small_run("steps=1", "model.text.freeze_kept=true"), tmp_path / "run", progress=False)
    place = folder / "checkpoints/step-000001"
    assert "text.long_positions.kept" in weights(place)
    assert not (place / "frozen.json").exists()
    assert not (folder / "frozen").exists()
