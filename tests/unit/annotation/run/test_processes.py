"""Several processes write what one writes. Their stages stand at the top: a process that is begun looks them up."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from foveal.annotation.run.journal import Journal
from foveal.annotation.run.output import Output
from foveal.annotation.run.pipeline import Annotation, engine_of
from foveal.annotation.run.processes import BLOCK, Processes
from foveal.annotation.stage import Halted
from foveal.annotation.stages.filter import Filter
from foveal.annotation.stages.negatives import Negatives
from foveal.annotation.stages.phrases import Phrases
from foveal.data.formats import Jsonl, WebDataset
from foveal.data.scenes import Scenes

COUNT = 2 * BLOCK + 6
pytestmark = pytest.mark.slow  # each process imports all anew


@dataclass(frozen=True)
class Ends:
    """Halts the run, or its own process, at one sample."""

    at: str
    killed: bool = False

    def __call__(self, sample):
        if sample.id == self.at and self.killed:
            os.kill(os.getpid(), signal.SIGKILL)
        if sample.id == self.at:
            raise Halted("Nobody is there.")
        return sample


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Scenes with their texts; one picture twice, one broken."""
    made = [
        replace(Scenes(count=COUNT, size=32).sample(number), id=f"s{number}", regions=()) for number in range(COUNT)
    ]
    made[40] = replace(made[40], image=made[3].image)
    made[50] = replace(made[50], image=made[50].image[:200])
    part = WebDataset(tmp_path_factory.mktemp("in") / "shards", samples_per_shard=40)
    part.write(made)
    return part


def files(run):
    shards = sorted(run.output.path.glob("*.tar"))
    return [path.read_bytes() for path in (*shards, run.output.memory / "journal.jsonl")]


def test_two_processes_go_on_and_write_what_one_writes(source, tmp_path):
    stages = {"phrases": Phrases("rules"), "negatives": Negatives(), "filter": Filter()}
    alone = Annotation(source, "in", stages, Output(tmp_path / "alone"), near_duplicates=0)
    alone.run()
    whole = files(alone)
    journal = alone.output.memory / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:5]))
    alone.output.clear()
    summary = alone.run("resume", engine=engine_of("local", 2))
    assert (summary.samples, summary.dropped, summary.failed) == (COUNT, 1, 1)
    assert files(alone) == whole


def test_numbered_samples_travel_as_numbers(source, tmp_path):
    lines = Jsonl(tmp_path / "in" / "lines.jsonl")
    lines.write(Scenes(count=COUNT, size=32))
    alone = Annotation(lines, "in", {"filter": Filter()}, Output(tmp_path / "alone.jsonl"))
    alone.run()
    several = replace(alone, output=Output(tmp_path / "several.jsonl"))
    several.run(engine=Processes(2))
    assert [path.read_bytes() for path in (several.output.path, several.output.memory / "journal.jsonl")] == [
        path.read_bytes() for path in (alone.output.path, alone.output.memory / "journal.jsonl")
    ]


def test_a_process_that_halts_or_is_killed_ends_the_run_and_the_work_is_kept(source, tmp_path):
    made = Annotation(source, "in", {"ends": Ends(f"s{BLOCK + 3}")}, Output(tmp_path / "halts"))
    with pytest.raises(Halted, match=rf"Nobody is there\. {BLOCK + 3} samples are kept"):
        made.run(engine=Processes(2))
    assert len(Journal(made.output.memory / "journal.jsonl")) == BLOCK + 3
    killed = Annotation(source, "in", {"ends": Ends(f"s{COUNT - 1}", killed=True)}, Output(tmp_path / "killed"))
    with pytest.raises(Halted, match=r"One of 2 processes was killed.*--set workers=1\. \d+ samples are kept"):
        killed.run(engine=Processes(2))


def test_processes_end_with_the_one_that_began_them(source, tmp_path):
    command = [Path(sys.executable).with_name("foveal"), "annotate", str(source.path), "--out", str(tmp_path / "out")]
    rules = ["--stages", "phrases,negatives", "--set", "phrases.parser=rules", "--set", "workers=2"]
    parent = subprocess.Popen([*map(str, command), *rules], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(children(parent.pid)) < 2 and parent.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    begun = children(parent.pid)
    parent.kill()
    parent.wait()
    while any(map(is_running, begun)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(begun) >= 2
    assert not any(map(is_running, begun))


def children(pid):
    """Processes that one began."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
