import json
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foveal.configuration import override
from foveal.models.weights import load
from foveal.training.logbook import read
from foveal.training.trainer import NotFiniteError, fit

FIRST_VERSION = Path(__file__).parents[2] / "fixtures/run_0_1.tar.xz"


def weights(folder):
    return load_file(folder / "model.safetensors")


def log_of(folder):
    return [{name: value for name, value in line.items() if name != "speed"} for line in read(folder / "log.jsonl")]


@dataclass(frozen=True)
class Fault:
    """An objective to which something happens at a step."""

    inner: object
    at: int
    what: str

    def start(self):
        return FaultInProgress(self)


class FaultInProgress:
    """Counts the steps, as FG-CLIP 2's threshold is carried from step to step."""

    def __init__(self, fault):
        self.fault, self.count = fault, 0

    def __call__(self, output, world):
        self.count += 1
        terms = self.fault.inner(output, world)
        if self.count == self.fault.at and self.fault.what == "interrupt":
            signal.raise_signal(signal.SIGINT)
        if self.count == self.fault.at and self.fault.what == "nan":
            terms["region"] = terms["region"] * float("nan")
        return terms | {"count": output.scale.detach() * 0 + self.count}

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


@dataclass(frozen=True)
class Given:
    """Random data to whose batches something is done."""

    small: object
    change: object

    def open(self, model, *, batch_size, seed, world, workers):
        return GivenStream(self.small.RandomStream(batch_size, seed, world), self.change)


class GivenStream:
    def __init__(self, inner, change):
        self.inner, self.change = inner, change
        self.state_dict, self.load_state_dict = inner.state_dict, inner.load_state_dict

    def __iter__(self):
        return iter(self.change(iter(self.inner)))


def with_fault(run, at, what):
    return replace(run, objective=Fault(run.objective, at, what))


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    torch.manual_seed(5)
    return fit(small.small_run(), folder, progress=False)


def test_a_training_leaves_a_model_a_log_curves_and_its_description(small, finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {"model.safetensors", "config.json", "run.json", "log.jsonl", "curves.png", "checkpoints"}
    assert [path.name for path in sorted((finished / "checkpoints").iterdir())] == ["step-000006", "step-000008"]
    assert load(finished).config == small.small_model()
    assert load(finished / "checkpoints/step-000006").config == small.small_model()
    log = log_of(finished)
    assert [line["step"] for line in log] == list(range(1, 9))
    assert set(log[0]) == {"step", "loss", "terms", "lr", "scale", "gradient_norm"}
    assert log[0]["lr"] == 0.0005
    assert log[0]["scale"] == pytest.approx(1 / 0.07)
    assert json.loads((finished / "run.json").read_text())["steps"] == 8


def test_the_result_is_the_average_of_the_weights(finished):
    last = load_file(finished / "checkpoints/step-000008/model.safetensors")
    average = load_file(finished / "checkpoints/step-000008/training.safetensors")
    result = weights(finished)
    assert torch.equal(result["vision.position"], average["/average/weights/vision.position"])
    assert not torch.equal(result["vision.position"], last["vision.position"])


def test_the_loss_goes_down_on_a_batch_seen_again_and_again(small, tmp_path):
    run = small.small_run("steps=12", "optimizer.lr=3e-3", "optimizer.schedule=constant")
    batch = small.random_batch(4, 1)
    log = log_of(fit(replace(run, data=Given(small, lambda batches: repeat(batch))), tmp_path / "run", progress=False))
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]


def test_micro_batches_and_recomputing_train_to_the_same_weights(small, tmp_path):
    # Keys' biases have a gradient of zero but for rounding, which Adam would blow up to full steps: hence eps.
    run = small.small_run("steps=4", "optimizer.eps=1e-3")
    plain = fit(run, tmp_path / "plain", progress=False)
    thrifty = override(run, ["machine.micro_batches=2", "machine.activation_checkpointing=true"])
    folder = fit(thrifty, tmp_path / "thrifty", progress=False)
    torch.testing.assert_close(weights(folder), weights(plain), rtol=1e-5, atol=1e-6)


def test_bf16_stays_near_and_keeps_weights_single(small, finished, tmp_path):
    before = torch.get_float32_matmul_precision()
    folder = fit(small.small_run("machine.precision=bf16"), tmp_path / "run", progress=False)
    torch.set_float32_matmul_precision(before)
    assert {tensor.dtype for tensor in weights(folder).values()} == {torch.float32}
    losses = [[line["loss"] for line in log_of(path)] for path in (folder, finished)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.03)


def test_an_interrupted_training_is_saved_and_resumes_bit_for_bit(small, tmp_path):
    run = small.small_run()
    whole = fit(with_fault(run, 0, ""), tmp_path / "whole", progress=False)
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt, match="after step 5 of 8"):
        fit(with_fault(run, 4, "interrupt"), cut, progress=False)
    assert (cut / "checkpoints/step-000005").is_dir()
    assert not (cut / "model.safetensors").exists()
    description = (cut / "run.json").read_text()
    (cut / "run.json").write_text(description.replace('"interrupt"', '""').replace('"at": 4', '"at": 0'))
    fit(with_fault(run, 0, ""), cut, resume=True, progress=False)
    torch.testing.assert_close(weights(cut), weights(whole), rtol=0, atol=0)
    assert log_of(cut) == log_of(whole)


def test_a_loss_that_is_no_number_stops_with_step_term_and_samples(small, tmp_path):
    with pytest.raises(NotFiniteError, match=r"Step 4: region is nan. Samples: 4/0, 4/1, 4/2, 4/3") as caught:
        fit(with_fault(small.small_run(), 4, "nan"), tmp_path / "run", progress=False)
    assert "\n" not in str(caught.value)
    assert [line["step"] for line in log_of(tmp_path / "run")] == [1, 2, 3]


def test_the_sample_whose_embedding_is_no_number_is_named_alone(small, tmp_path):
    def poison(batches):
        for batch in batches:
            batch.pixels[2] = float("inf")
            yield batch

    run = replace(small.small_run(), data=Given(small, poison))
    with pytest.raises(NotFiniteError, match=r"Step 1: .*Samples: 1/2\. Look"):
        fit(run, tmp_path / "run", progress=False)


def test_a_folder_in_use_is_refused(small, finished):
    with pytest.raises(ValueError, match=r"is not empty\. Resume it with --resume"):
        fit(small.small_run(), finished, progress=False)


def test_resuming_nothing_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match="nothing to resume"):
        fit(small.small_run(), tmp_path, resume=True, progress=False)


def test_resuming_with_other_settings_is_refused_by_name(small, finished):
    run = small.small_run("optimizer.lr=1", "machine.workers=1", "machine.keep=9")
    with pytest.raises(ValueError, match=r"settings \(optimizer.lr: 0.001, now 1.0; machine.workers: 0, now 1\)"):
        fit(run, finished, resume=True, progress=False)


def test_a_training_that_ended_can_be_made_longer(small, tmp_path):
    run = small.small_run("optimizer.schedule=constant", "steps=2")
    folder = fit(run, tmp_path / "run", progress=False)
    fit(replace(run, steps=4), folder, resume=True, progress=False)
    at_once = fit(replace(run, steps=4), tmp_path / "at_once", progress=False)
    assert log_of(folder) == log_of(at_once)
    torch.testing.assert_close(weights(folder), weights(at_once), rtol=0, atol=0)


def test_a_batch_that_can_not_be_shared_out_is_refused(small, tmp_path):
    from foveal.distributed import World
    from foveal.training.state import begin

    with pytest.raises(ValueError, match="batch_size 4 is no multiple of the 3 processes"):
        begin(small.small_run(), World(0, 3), torch.device("cpu"))


def test_data_that_ends_is_refused(small, tmp_path):
    run = replace(small.small_run(), data=Given(small, lambda batches: islice(batches, 2)))
    with pytest.raises(ValueError, match="data ended after 2 steps"):
        fit(run, tmp_path / "run", progress=False)


def test_a_training_starts_from_a_model_folder(small, finished, tmp_path):
    run = small.small_run("steps=1", "optimizer.lr=0", "optimizer.weight_decay=0")
    folder = fit(replace(run, ema=None), tmp_path / "run", init=finished, progress=False)
    torch.testing.assert_close(weights(folder), weights(finished), rtol=0, atol=0)


def cut_back(finished, folder):
    """A copy of a training without its result, whose last checkpoint has a flipped bit."""
    shutil.copytree(finished, folder)
    (folder / "model.safetensors").unlink()
    file = folder / "checkpoints/step-000008/model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return folder


def test_the_way_out_of_a_damaged_checkpoint_leads_to_the_same_weights(small, finished, tmp_path):
    folder = cut_back(finished, tmp_path / "a run")
    with pytest.raises(ValueError, match=r"step-000008 is damaged: model\.safetensors .*step-000006 .*whole") as caught:
        fit(small.small_run(), folder, resume=True, progress=False)
    assert not (folder / "model.safetensors").exists()
    command = re.search(r"(rm -r .*), then --resume", str(caught.value))[1]
    subprocess.run(shlex.split(command), check=True)
    fit(small.small_run(), folder, resume=True, progress=False)
    torch.testing.assert_close(weights(folder), weights(finished), rtol=0, atol=0)
    assert log_of(folder) == log_of(finished)


def test_a_damaged_checkpoint_is_no_beginning(small, finished, tmp_path):
    place = cut_back(finished, tmp_path / "damaged") / "checkpoints/step-000008"
    with pytest.raises(ValueError, match=r"step-000008 is damaged: model\.safetensors .*Begin from another"):
        fit(small.small_run(), tmp_path / "run", init=place, progress=False)
    assert not (tmp_path / "run").exists()
    fit(small.small_run("steps=1"), tmp_path / "run", init=place.with_name("step-000006"), progress=False)


def test_a_checkpoint_of_another_run_is_refused_by_name(small, finished, tmp_path):
    wider = small.small_run("model.embed_width=24", "steps=9", "machine.checkpoint_every=9")
    other = fit(wider, tmp_path / "other", progress=False)
    folder = shutil.copytree(finished, tmp_path / "run")
    shutil.copytree(other / "checkpoints/step-000009", folder / "checkpoints/step-000009")
    with pytest.raises(ValueError, match=r"step-000009 does not fit this run \(.*another run's\? Move it") as caught:
        fit(small.small_run("steps=9"), folder, resume=True, progress=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"), [("run.json", r"run\.json is damaged: "), ("log.jsonl", r"log\.jsonl:1 is damaged\. Move")]
)
def test_other_files_of_a_run_are_named_when_they_are_damaged(small, finished, tmp_path, name, message):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / name).write_bytes(b"\xff" + (folder / name).read_bytes()[1:])
    with pytest.raises(ValueError, match=message):
        fit(small.small_run(), folder, resume=True, progress=False)


def test_an_objective_without_a_term_is_refused(small, tmp_path):
    run = replace(small.small_run(), objective=lambda output, world: {})
    with pytest.raises(ValueError, match=r"The objective of 'small' has no term .*--set data\.captions=true"):
        fit(run, tmp_path / "run", progress=False)


def test_a_run_of_the_first_version_resumes_to_the_weights_it_would_have_had(small, tmp_path):
    with tarfile.open(FIRST_VERSION) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / "run_0_1"
    sizes = [f"model.{tower}.{name}=8" for tower in ("vision", "text") for name in ("width", "mlp_width")]
    run = small.small_run("steps=4", "machine.checkpoint_every=2", *sizes, "model.embed_width=8")
    fit(run, folder, resume=True, progress=False)
    torch.testing.assert_close(weights(folder), load_file(folder / "expected.safetensors"), rtol=1e-4, atol=1e-5)
