import os
import subprocess
import sys

import pytest
import torch

from foveal.cli.machine import prepare_machine, use_threads

FAULTS = """
import resource, sys
import foveal.cli.machine as machine
machine.prepare_machine()
import torch
def faults(number):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones((4 << 20) - 4096 * number)  # a little smaller each time, so that it fits where the one before lay
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(0)
print(min(faults(number) for number in range(1, 5)))
"""


def test_waiting_threads_sleep_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_MALLOC", "system")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare_machine()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    prepare_machine()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_threads_are_as_many_as_were_asked_for() -> None:
    before = torch.get_num_threads()
    use_threads(None)
    assert torch.get_num_threads() == before
    use_threads(1)
    assert torch.get_num_threads() == 1
    use_threads(before)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_memory_stays_with_the_process() -> None:
    """The second tensor of 16 MiB lies where the first did: 4,096 pages that the system need not fill with zeros."""
    faults = {}
    for switch in ("", "system"):
        environment = os.environ | {"FOVEAL_MALLOC": switch, "MALLOC_MMAP_THRESHOLD_": "" if not switch else "131072"}
        done = subprocess.run(
            [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=environment
        )
        faults[switch] = int(done.stdout)
    assert faults[""] < 100 and faults["system"] > 3500
