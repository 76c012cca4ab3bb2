import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foveal.distributed import ALONE
from foveal.training.logbook import read
from foveal.training.parallel import of_every_rank, processes, wrapped
from foveal.training.trainer import fit

WORKER = Path(__file__).with_name("worker.py")
# Keys' biases have a gradient of zero but for rounding, which Adam would blow up to full steps: hence eps.
SETTINGS = ("steps=3", "optimizer.eps=1e-3", "machine.checkpoint_every=2")


def run_two(out, *settings, resume=False, codes=(0, 0)):
    """Train with two gloo processes, started as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(WORKER), str(out), *SETTINGS, *settings, *["--resume"] * resume]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(command, env=os.environ | place | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert tuple(rank.returncode for rank in ranks) == codes, errors
    return errors


@pytest.fixture(scope="module")
def alone(small, tmp_path_factory):
    return fit(small.small_run(*SETTINGS), tmp_path_factory.mktemp("alone") / "run", progress=False)


@pytest.mark.parametrize("kind", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes_train_to_the_weights_of_one(alone, tmp_path, kind):
    settings = (f"machine.parallel={kind}", "machine.micro_batches=2")
    run_two(tmp_path / "two", *settings)
    expected, found = (load_file(folder / "model.safetensors") for folder in (alone, tmp_path / "two"))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)
    for one, two in zip(read(alone / "log.jsonl"), read(tmp_path / "two/log.jsonl"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert two["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-4)


@pytest.mark.slow
def test_two_processes_train_adapters_beside_a_frozen_tower_to_the_weights_of_one(small, tmp_path):
    tuning = ("tuning.rank=2", "tuning.towers=vision", "tuning.frozen=text", "optimizer.layer_decay=0.8")
    one = fit(small.small_run(*SETTINGS, *tuning), tmp_path / "one", progress=False)
    run_two(tmp_path / "two", *tuning)
    together, alone = (load_file(folder / "model.safetensors") for folder in (tmp_path / "two", one))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_resume_bit_for_bit(tmp_path, kind):
    setting = f"machine.parallel={kind}"
    run_two(tmp_path / "whole", setting)
    run_two(tmp_path / "cut", setting, "steps=2")
    run_two(tmp_path / "cut", setting, resume=True)
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    torch.testing.assert_close(cut, whole, rtol=0, atol=0)


@pytest.mark.slow
def test_all_processes_stop_at_a_damaged_checkpoint_with_the_same_words(tmp_path):
    run_two(tmp_path / "two", "steps=2")
    (tmp_path / "two/checkpoints/step-000002/config.json").unlink()
    errors = run_two(tmp_path / "two", resume=True, codes=(1, 1))
    for error in errors:
        assert "ValueError: Checkpoint" in error.splitlines()[-1]
        assert "step-000002 is damaged: config.json is missing. No older one is whole" in error.splitlines()[-1]


def test_alone_nothing_is_wrapped_and_nothing_is_sent():
    model = torch.nn.Linear(1, 1)
    assert wrapped(model, "fsdp", ALONE) is model
    assert of_every_rank("mine", ALONE) == ["mine"]
    with processes() as (world, device):
        assert world is ALONE
        assert device.type in ("cpu", "cuda")
