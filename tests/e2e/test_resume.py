"""A training that is killed (-9) and resumed gives the weights and the log of one that was not, bit for bit."""

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from foveal.training.logbook import read

WORKER = Path(__file__).parents[1] / "unit/training/worker.py"


def worker(out, *arguments):
    return subprocess.run([sys.executable, str(WORKER), str(out), *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    done = worker(out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize(
    ("kill", "done"),
    [
        pytest.param(["--kill-at", "2"], [], id="before_the_first_checkpoint", marks=pytest.mark.slow),
        pytest.param(["--kill-at", "5"], ["step-000003"], id="between_checkpoints"),
        pytest.param(["--kill-at", "6", "--saving"], ["step-000003"], id="while_a_checkpoint_is_written"),
    ],
)
def test_killed_and_resumed_is_uninterrupted_bit_for_bit(whole, tmp_path, kill, done):
    out = tmp_path / "run"
    assert worker(out, *kill).returncode == -9
    assert [path.name for path in (out / "checkpoints").glob("step-??????")] == done
    assert not (out / "model.safetensors").exists()
    resumed = worker(out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    logs = [[line | {"speed": None} for line in read(folder / "log.jsonl")] for folder in (out, whole)]
    assert logs[0] == logs[1]
    last = "checkpoints/step-000008/training.safetensors"
    states = [load_file(folder / last) for folder in (out, whole)]
    assert states[0].keys() == states[1].keys()
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
