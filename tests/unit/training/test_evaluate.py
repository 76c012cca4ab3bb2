"""Evaluation while training: it changes nothing but what is kept and when the training ends."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import foveal
from foveal.data.formats import Jsonl
from foveal.data.scenes import Scenes
from foveal.recipes.clip import smoke
from foveal.training.evaluate import Evaluate, Standing
from foveal.training.logbook import read
from foveal.training.start import train
from foveal.training.trainer import fit


def weights(folder):
    return load_file(folder / "model.safetensors")


@dataclass(frozen=True)
class Scripted:
    """An evaluation that gives these numbers one after another, and draws random numbers while at it."""

    numbers: tuple[float, ...]
    every: int = 1
    decisive: str = "score"
    patience: int = 0

    def check(self):
        pass

    def __call__(self, folder):
        torch.rand(100)
        assert (folder / "model.safetensors").is_file()
        done = [line for line in read(folder.parent / "log.jsonl") if "evaluation" in line]
        return {"other": 1.0, "score": float(self.numbers[len(done)])}


def scripted(small, *numbers, **settings):
    return replace(small.small_run("steps=4", "machine.checkpoint_every=2"), evaluate=Scripted(numbers, **settings))


@pytest.fixture(scope="module")
def plain(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    return fit(small.small_run("steps=4", "machine.checkpoint_every=2"), folder, progress=False)


def test_the_training_is_the_same_as_without(small, plain, tmp_path):
    folder = fit(scripted(small, 1, 2, 3, 4), tmp_path / "run", progress=False)
    assert all(weights(folder)[name].equal(tensor) for name, tensor in weights(plain).items())
    assert not (folder / "candidate").exists()
    for line, before in zip(read(folder / "log.jsonl"), read(plain / "log.jsonl"), strict=True):
        assert line.pop("evaluation") == {"other": 1.0, "score": float(line["step"])}
        assert line | {"speed": 0} == before | {"speed": 0}


def test_the_best_model_is_kept_with_averaged_weights(small, plain, tmp_path):
    folder = fit(scripted(small, 1, 3, 2, 3), tmp_path / "run", progress=False)
    average = load_file(folder / "checkpoints/step-000002/training.safetensors")
    best = weights(folder / "best")
    assert best["vision.position"].equal(average["/average/weights/vision.position"])
    assert not best["vision.position"].equal(weights(folder)["vision.position"])


def test_a_training_ends_after_as_many_evaluations_without_a_better_model_and_resuming_adds_nothing(
    small, tmp_path, caplog
):
    run = scripted(small, 1, 3, 3, 2, patience=1)
    folder = fit(run, tmp_path / "run", progress=False)
    assert [line["step"] for line in read(folder / "log.jsonl")] == [1, 2, 3]
    assert caplog.messages == ["No better model in 1 evaluations: the training ends at step 3."]
    assert (folder / "model.safetensors").is_file()
    fit(run, folder, resume=True, progress=False)
    assert [line["step"] for line in read(folder / "log.jsonl")] == [1, 2, 3]


def test_a_resumed_training_knows_its_evaluations(small, tmp_path):
    run = scripted(small, 5, 1, 2, 3, patience=3)
    whole = fit(run, tmp_path / "whole", progress=False)
    cut = shutil.copytree(whole, tmp_path / "cut")
    shutil.rmtree(cut / "checkpoints/step-000004")
    fit(run, cut, resume=True, progress=False)
    assert [line | {"speed": 0} for line in read(cut / "log.jsonl")] == [
        line | {"speed": 0} for line in read(whole / "log.jsonl")
    ]
    assert all(weights(cut / "best")[name].equal(tensor) for name, tensor in weights(whole / "best").items())


def test_standing_by_hand():
    numbers = [{"a": 1.0, "b": 0.0}, {"a": 3.0, "b": 0.0}, {"a": 3.0, "b": 5.0}, {"a": 2.0, "b": 1.0}]
    records = [{"step": 1}, *({"step": 2, "evaluation": each} for each in numbers)]
    assert Standing.of(records, "") == Standing(3.0, 2)
    assert Standing.of(records, "b") == Standing(5.0, 1)
    with pytest.raises(ValueError, match=r"evaluate\.decisive is 'c', which was not measured\. There are: a, b"):
        Standing.of(records, "c")


def test_protocols_are_checked_before_the_first_step(small, tmp_path):
    run = small.small_run("steps=1")
    for evaluate, message in (
        (Evaluate(every=1), r"evaluate\.every needs something to measure"),
        (Evaluate(every=1, protocols=("nowhere",)), "nowhere"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(replace(run, evaluate=evaluate), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_ones_own_data_are_measured_as_foveal_eval_does(tmp_path):
    Jsonl(tmp_path / "a.jsonl").write(Scenes(size=32).sample(number) for number in range(6))
    changes = ["steps=2", "batch_size=4", "evaluate.every=2", f"evaluate.protocols={tmp_path / 'a.jsonl'}"]
    folder = train(smoke(), tmp_path / "run", data=["scenes:seed=1"], changes=changes, progress=False)
    logged = read(folder / "log.jsonl")[1]["evaluation"]
    report = foveal.evaluate(foveal.load(folder / "best"), [str(tmp_path / "a.jsonl")], Path())
    again = {
        f"{name}/{task}/{metric}": number.value
        for name, task, result in report.rows()
        for metric, number in result.metrics.items()
    }
    assert logged == again
    assert foveal.load(folder / "best").protocol == foveal.load(folder).protocol
