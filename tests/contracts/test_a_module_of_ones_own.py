"""A module that is no dual encoder goes through the same trainer: the probe of docs/training.md, as it stands there."""

import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foveal.configuration import override
from foveal.data.tokenizer import Tokenizer
from foveal.encoder.protocol import Protocol
from foveal.models import weights
from foveal.models.dual_encoder import DualEncoder
from foveal.recipes.clip import smoke
from foveal.recipes.lookup import find
from foveal.training.logbook import read
from foveal.training.trainer import fit

PAGE = Path(__file__).parents[2] / "docs/training.md"
SETTINGS = ("steps=6", "batch_size=8", "machine.checkpoint_every=2", "ema=0.5")
WORKER = """
import os, signal, sys
from pathlib import Path
import torch
from foveal.configuration import override
from foveal.training.logbook import Logbook
from foveal.training.parallel import processes
from foveal.training.trainer import fit
from probe import probe

torch.set_num_threads(1)
write, (out, kill_at, *settings) = Logbook.write, sys.argv[1:]

def deadly(self, record, **counts):
    if record["step"] == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, record, **counts)

Logbook.write = deadly
with processes() as (world, device):
    fit(override(probe(), settings), Path(out), world=world, device=device, progress=False)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the page's file and a tower."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "probe.py").write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    (folder / "worker.py").write_text(WORKER)
    torch.manual_seed(0)
    weights.save(DualEncoder(smoke().model), folder / "tower")
    Protocol.of(smoke().data.transform, Tokenizer()).write(folder / "tower")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("probe", None)


@pytest.fixture(scope="module")
def run(home):
    """The page's recipe, small."""
    return override(find("probe:probe")(), [f"model.tower={home / 'tower'}", *SETTINGS])


@pytest.fixture(scope="module")
def finished(run, home):
    return fit(run, home / "finished", progress=False)


def result(folder):
    return load_file(folder / "probe.safetensors")


def log(folder):
    return [line | {"speed": 0} for line in read(folder / "log.jsonl")]


def start(home, run, out, kill_at, **environment):
    arguments = [str(out), str(kill_at), f"model.tower={run.model.tower}", *SETTINGS]
    return subprocess.Popen(
        [sys.executable, str(home / "worker.py"), *arguments], env=os.environ | environment, stderr=subprocess.PIPE
    )


def test_it_trains_and_its_tower_stays_as_it_was(run, home, finished):
    tower, trained = load_file(home / "tower/model.safetensors"), result(finished)
    assert all(trained[f"tower.{name}"].equal(tensor) for name, tensor in tower.items())
    assert not trained["head.weight"].equal(run.model.build().head.weight)
    eight = [
        'data.sources=["scenes:seed=0,size=32,count=8"]',
        "steps=20",
        "optimizer.lr=1",
        "machine.checkpoint_every=20",
    ]
    longer = fit(override(run, eight), home / "longer", progress=False)
    losses = [line["loss"] for line in read(longer / "log.jsonl")]
    assert losses[-1] < 0.9 * losses[0]
    assert set(read(longer / "log.jsonl")[0]) == {"step", "loss", "terms", "lr", "gradient_norm", "speed"}


def test_frozen_weights_have_no_optimizer_state_and_are_stored_once(run, finished):
    names = load_file(finished / "frozen/frozen.safetensors").keys()
    assert names == {f"tower.{name}" for name in run.model.build().tower.state_dict()}
    for checkpoint in (finished / "checkpoints").iterdir():
        assert load_file(checkpoint / "model.safetensors").keys() == {"head.weight", "head.bias"}
        state = load_file(checkpoint / "training.safetensors")
        assert not any("tower" in name for name in state)
        reference = json.loads((checkpoint / "frozen.json").read_text())
        assert reference["folder"] == "../../frozen"
        assert reference["sha256"] == hashlib.sha256((finished / "frozen/frozen.safetensors").read_bytes()).hexdigest()
        assert sum(file.stat().st_size for file in checkpoint.iterdir()) < 20_000


def test_a_resumed_training_is_refused_without_its_frozen_weights_and_the_way_out_works(run, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "frozen").rename(tmp_path / "away")
    with pytest.raises(ValueError, match=r"lacks its frozen weights: .* is missing\. Copy the run's .* to ") as caught:
        fit(replace(run, steps=7), folder, resume=True, progress=False)
    assert "\n" not in str(caught.value)
    shutil.copytree(tmp_path / "away", str(caught.value).rpartition(" to ")[2].removesuffix("."))
    fit(replace(run, steps=7), folder, resume=True, progress=False)
    with pytest.raises(ValueError, match=r"Probe saves all of itself\. Use --set machine\.self_contained=true"):
        fit(override(run, ["machine.self_contained=false"]), tmp_path / "other", progress=False)


def test_it_opens_and_begins_another_training(run, finished, tmp_path):
    module = run.model.open(finished)
    assert all(module.state_dict()[name].equal(tensor) for name, tensor in result(finished).items())
    still = override(run, ["steps=1", "optimizer.lr=0", "ema=none"])
    folder = fit(still, tmp_path / "run", init=finished, progress=False)
    assert all(result(folder)[name].equal(tensor) for name, tensor in result(finished).items())


def test_resumed_from_a_checkpoint_it_has_the_same_weights_and_log(run, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "cut")
    (folder / "probe.safetensors").unlink()
    shutil.rmtree(folder / "checkpoints/step-000006")
    fit(run, folder, resume=True, progress=False)
    assert all(result(folder)[name].equal(tensor) for name, tensor in result(finished).items())
    assert log(folder) == log(finished)


@pytest.mark.slow
def test_killed_and_resumed_it_has_the_same_weights_and_log(run, home, finished, tmp_path):
    worker = start(home, run, tmp_path / "cut", kill_at=5)
    errors = worker.communicate(timeout=120)[1]
    assert worker.returncode == -signal.SIGKILL, errors
    assert not (tmp_path / "cut/probe.safetensors").exists()
    fit(run, tmp_path / "cut", resume=True, progress=False)
    assert all(result(tmp_path / "cut")[name].equal(tensor) for name, tensor in result(finished).items())
    assert log(tmp_path / "cut") == log(finished)


@pytest.mark.slow
def test_two_ranks_train_to_the_weights_of_one(run, home, finished, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = [start(home, run, tmp_path / "two", 0, **place, RANK=str(rank)) for rank in range(2)]
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    torch.testing.assert_close(result(tmp_path / "two"), result(finished), rtol=1e-5, atol=1e-6)


def test_micro_batches_train_to_the_same_weights_where_the_objective_adds_up(run, finished, tmp_path):
    thrifty = override(run, ["machine.micro_batches=3"])
    folder = fit(thrifty, tmp_path / "thrifty", progress=False)
    torch.testing.assert_close(result(folder), result(finished), rtol=1e-5, atol=1e-6)
    comparing = replace(thrifty, objective=lambda output, world: run.objective(output, world))
    with pytest.raises(ValueError, match=r"Micro-batches of a dict can't be joined.*micro_batches=1.*additive = True"):
        fit(comparing, tmp_path / "comparing", progress=False)


def test_a_batch_that_can_not_be_split_is_refused_with_what_to_do(run, tmp_path):
    page = importlib.import_module("probe")
    split = page.Labeled.split
    del page.Labeled.split
    try:
        with pytest.raises(ValueError, match=r"A Labeled has no 'split', so machine\.micro_batches=2 can't be"):
            fit(override(run, ["machine.micro_batches=2"]), tmp_path / "run", progress=False)
    finally:
        page.Labeled.split = split
