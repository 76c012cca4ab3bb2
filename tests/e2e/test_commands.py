"""The commands of the README, end to end: scenes, training, cutting it off, going on, evaluation, the demo."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from foveal.cli.main import main
from foveal.data.formats import WebDataset
from foveal.data.scenes import Scenes
from foveal.demo import page, showcase
from foveal.evaluation import BENCHMARKS, SCENE_TASKS, Benchmark, read_report
from foveal.evaluation.registry import LONG_SCENES
from foveal.training.logbook import Logbook, read

COMMAND = Path(sys.executable).with_name("foveal")


@pytest.fixture
def small_benchmarks(monkeypatch):
    """Few scenes under the names of the benchmarks of made-up pictures, and on the demo's page."""
    long_tasks = BENCHMARKS["scenes-long@test1000"]().tasks
    few = Scenes(split="test", count=12, size=32)
    monkeypatch.setitem(BENCHMARKS, "scenes@test1000", lambda: Benchmark(few, SCENE_TASKS))
    monkeypatch.setitem(
        BENCHMARKS, "scenes-long@test1000", lambda: Benchmark(replace(LONG_SCENES, count=8), long_tasks)
    )
    monkeypatch.setattr(page, "GALLERY", 12)


def interrupt_at(monkeypatch, step):
    """Send this process a Ctrl-C while it writes the log of a step."""
    write = Logbook.write

    def interrupted(self, record, **counts):
        write(self, record, **counts)
        if record["step"] == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Logbook, "write", interrupted)


def test_scenes_train_stop_resume_and_eval(small_benchmarks, monkeypatch, capsys, tmp_path):
    shards, whole, cut = (tmp_path / name for name in ("scenes", "whole", "cut"))
    assert main(["scenes", "--out", str(shards), "--count", "40", "--size", "32", "--shard", "16"]) == 0
    assert len(list(WebDataset(shards))) == 40
    assert len(list(shards.glob("*.tar"))) == 3
    assert "CC BY-SA 4.0" in (shards / "ATTRIBUTION.txt").read_text(encoding="utf-8")

    train = ["train", "clip:smoke", "--data", str(shards), "--set", "steps=4", "--set", "batch_size=4"]
    assert main([*train, "--out", str(whole)]) == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        capsys.readouterr()
        assert main([*train, "--out", str(cut)]) == 130
    assert "foveal: Stopped after step 3 of 4. Resume to go on." in capsys.readouterr().err.splitlines()
    assert main([*train, "--out", str(cut)]) == 2
    assert main([*train, "--out", str(cut), "--set", "seed=1", "--resume"]) == 2
    assert "was begun with other settings (seed: 0, now 1)" in capsys.readouterr().err
    assert main([*train, "--out", str(cut), "--resume"]) == 0
    weights = [load_file(folder / "model.safetensors") for folder in (cut, whole)]
    assert all(weights[0][name].equal(value) for name, value in weights[1].items())
    assert [line["loss"] for line in read(cut / "log.jsonl")] == [line["loss"] for line in read(whole / "log.jsonl")]

    capsys.readouterr()
    assert main(["eval", str(whole), "scenes", "--out", str(tmp_path / "report")]) == 0
    shown = capsys.readouterr().out
    assert "caption_retrieval" in shown
    assert "Brackets: 95 % bootstrap intervals" in shown
    report = read_report(tmp_path / "report")
    assert (report.model, set(report.results)) == ("whole", {"scenes@test1000"})
    assert set(report.results["scenes@test1000"]) == {task.name for task in SCENE_TASKS}
    assert main(["eval", str(whole), "scenery"]) == 2
    assert "There is no protocol 'scenery'. Did you mean scenes or scenes_long?" in capsys.readouterr().err


def test_a_trained_model_begins_another_recipe(scene_shards, tmp_path):
    train = ["--data", str(scene_shards), "--set", "steps=1", "--set", "batch_size=4"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", "clip:smoke", "--out", str(first), *train]) == 0
    frozen = ["--set", "optimizer.lr=0", "--set", "optimizer.weight_decay=0"]
    assert main(["train", "fg_clip:smoke", "--out", str(second), "--init", str(first), *train, *frozen]) == 0
    old, new = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert old["text_projections.caption.weight"].equal(new["text_projections.long_caption.weight"])
    assert old["log_scale"] == new["log_region_scale"]


@pytest.mark.slow
def test_the_demo_makes_everything_once(small_benchmarks, monkeypatch, capsys, tmp_path):
    out = tmp_path / "demo"
    demo = ["demo", "--out", str(out), "--scenes", "100", "--steps", "2", "--recipes", "clip,foveal"]
    assert main(demo) == 0
    shown = capsys.readouterr().out
    table = (out / "comparison.txt").read_text().strip()
    assert table in shown
    assert "clip" in table.splitlines()[0]
    assert "foveal" in table.splitlines()[0]
    text = (out / "index.html").read_text()
    assert "CC BY-SA 4.0" in (out / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") > 6
    assert "CC BY-SA 4.0" in text
    assert len(list(WebDataset(out / "scenes"))) == 100
    assert [len(read(out / name / "log.jsonl")) for name in ("clip", "foveal")] == [2, 2]
    assert json.loads((out / "clip/run.json").read_text())["data"]["sources"] == [str(out / "scenes")]

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    for name in ("train", "evaluate", "Scenes"):  # nothing can be made, trained or measured any more
        monkeypatch.setattr(showcase, name, None)
    assert main(demo) == 0
    again = {path.name for path, then in before.items() if path.stat().st_mtime_ns != then}
    assert again <= {"ATTRIBUTION.txt", "comparison.txt", "index.html", "showcase.json"}
    assert (out / "comparison.txt").read_text().strip() == table
    assert {path for path in out.rglob("*") if path.is_file()} == set(before)

    capsys.readouterr()
    assert main([*demo, "--steps", "3"]) == 2
    assert "was made with other settings. Remove it or choose another folder." in capsys.readouterr().err


@pytest.mark.slow
def test_a_demo_that_was_stopped_goes_on(small_benchmarks, monkeypatch, capsys, tmp_path):
    demo = ["demo", "--scenes", "100", "--steps", "3", "--recipes", "clip", "--out"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main([*demo, str(whole)]) == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert main([*demo, str(cut)]) == 130
    assert "foveal: Stopped after step 2 of 3. Resume to go on." in capsys.readouterr().err.splitlines()
    assert main([*demo, str(cut)]) == 0
    assert (cut / "comparison.txt").read_text() == (whole / "comparison.txt").read_text()
    weights = [load_file(folder / "clip/model.safetensors") for folder in (cut, whole)]
    assert all(weights[0][name].equal(value) for name, value in weights[1].items())


@pytest.mark.slow
def test_ctrl_c_ends_the_installed_command_after_its_step(scene_shards, tmp_path):
    out = tmp_path / "run"
    train = [COMMAND, "train", "clip:smoke", "--data", scene_shards, "--out", out, "--set", "batch_size=4"]
    process = subprocess.Popen([*train, "--set", "steps=100000"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(read(out / "log.jsonl")) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130, told
    done = len(read(out / "log.jsonl"))
    assert told.splitlines()[-1] == f"foveal: Stopped after step {done} of 100000. Resume to go on."
    longer = subprocess.run([*train, "--set", f"steps={done + 1}", "--resume"], capture_output=True, text=True)
    assert longer.returncode == 0, longer.stderr
    assert len(read(out / "log.jsonl")) == done + 1
    assert (out / "model.safetensors").is_file()
