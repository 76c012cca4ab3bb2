"""`foveal annotate`: pictures to training data, killed and gone on with, against an endpoint and without one."""

import json
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from runpy import run_path

import pytest
from PIL import Image

from foveal.annotation.assistant.answers import Answers
from foveal.cli.main import main
from foveal.data.formats import FineHard, Jsonl, WebDataset, open_source

COMMAND = Path(sys.executable).with_name("foveal")
CHAT = run_path(str(Path(__file__).parents[1] / "chat_endpoint.py"))
OFFLINE = "phrases,ground,negatives,filter"


@pytest.fixture
def chat():
    """An endpoint that writes another caption about each picture."""
    endpoint = CHAT["ChatEndpoint"]()
    yield endpoint
    endpoint.close()


@pytest.fixture
def photos(tmp_path):
    """A folder of plain pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        data = BytesIO()
        Image.new("RGB", (32, 24), (number * 6, 255 - number * 6, number)).save(data, "PNG")
        (folder / f"{number:03d}.png").write_bytes(data.getvalue())
    return folder


def annotate(chat, photos, out, *more):
    return [
        *("annotate", str(photos), "--out", str(out), "--stages", "caption"),
        *("--endpoint", chat.url, "--model", "tiny-vl", "--set", "assistant.pause=0.01", *more),
    ]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_pays_for_nothing_twice(chat, photos, capsys, tmp_path):
    chat.reply = lambda turn, body: CHAT["Reply"](wait=0.2)
    killed, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    command = annotate(chat, photos, killed, "--set", "assistant.concurrency=4")
    process = subprocess.Popen([COMMAND, *command], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while chat.paid < 15 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    time.sleep(0.5)  # answers on their way arrive nowhere
    assert not killed.exists()
    memory = killed.with_name("killed.jsonl.annotation")
    run = json.loads((memory / "run.json").read_text())["run"]
    kept = Answers(memory / "answers.sqlite", run).spent().answers
    assert 15 - 4 <= kept < 40

    chat.reply = lambda turn, body: CHAT["Reply"]()
    assert main([*command, "--resume"]) == 0
    assert len(list(Jsonl(killed))) == 40
    spend = json.loads((memory / "report.json").read_text())["spend"]
    assert (spend["answers"], spend["prompt_tokens"], spend["completion_tokens"]) == (40, 4000, 800)
    assert sum(chat.asked.values()) <= 40 + 4  # only what was on its way is asked again

    assert main(annotate(chat, photos, whole)) == 0
    assert killed.read_bytes() == whole.read_bytes()
    names = ("journal.jsonl", "failed.jsonl")
    assert all((memory / n).read_bytes() == (tmp_path / "whole.jsonl.annotation" / n).read_bytes() for n in names)
    assert "40 samples: 40 written, 0 dropped, 0 failed. 40 answers, 4,000 + 800 tokens" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_keeps_what_is_paid_for(chat, photos, tmp_path):
    chat.reply = lambda turn, body: CHAT["Reply"](wait=0.2)
    out = tmp_path / "out.jsonl"
    command = annotate(chat, photos, out, "--set", "assistant.concurrency=4")
    process = subprocess.Popen([COMMAND, *command], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while chat.paid < 10 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1].splitlines()[-1]
    assert process.returncode == 130, told
    assert told.startswith("foveal: Stopped. ")
    assert told.endswith("go on with --resume.")
    chat.reply = lambda turn, body: CHAT["Reply"]()
    assert main([*command, "--resume"]) == 0
    assert sum(chat.asked.values()) == chat.paid == 40  # answers on their way were waited for
    assert set(chat.asked.values()) == {1}


def test_mistakes_are_one_line_that_says_what_to_do(chat, photos, capsys, tmp_path):
    def told(*command):
        capsys.readouterr()
        assert main([str(word) for word in command]) == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("foveal: "))
        return line

    out = tmp_path / "out.jsonl"
    base = ("annotate", photos, "--out", out)
    assert "no stage 'captions'. There are: caption, phrases, ground," in told(*base, "--stages", "captions")
    assert "Stage 'caption' asks a model" in told(*base, "--stages", "caption")
    assert "give both --endpoint and --model" in told(*base, "--endpoint", chat.url)
    assert "no engine 'dask'. There are: local, ray" in told(*base, "--stages", "phrases", "--engine", "dask")
    assert "exclude each other" in told(*base, "--resume", "--overwrite")
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in told("annotate", tmp_path / "empty", "--out", out, "--stages", "phrases")
    asked = annotate(chat, photos, out)
    assert "CHAT_KEY is empty" in told(*asked, "--set", "assistant.key_variable=CHAT_KEY")

    chat.reply = lambda turn, body: CHAT["Reply"](status=401)
    assert "refuses the key" in told(*asked)
    assert not out.exists()
    assert "is there already. Go on with --resume, begin anew with --overwrite" in told(*asked)
    assert "go on with --resume" in told(*asked, "--resume")
    chat.reply = lambda turn, body: CHAT["Reply"]()
    assert main([*asked, "--resume"]) == 0
    assert len(list(Jsonl(out))) == 40


def test_an_endpoint_that_is_down_keeps_the_work(chat, photos, capsys, tmp_path):
    out = tmp_path / "out.jsonl"
    command = annotate(chat, photos, out, "--set", "assistant.concurrency=2", "--set", "assistant.tries=2")
    chat.reply = lambda turn, body: CHAT["Reply"](status=401 if chat.paid > 7 else 200)
    assert main(command) == 2
    chat.close()
    assert main([*command, "--resume"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"The endpoint {chat.url} cannot be reached" in line
    assert "Check that the server runs" in line
    assert "samples are kept in" in line
    chat.__init__(chat.reply)  # for the fixture, which closes it


@pytest.mark.slow
def test_scenes_become_training_data_without_an_endpoint(capsys, tmp_path):
    shards, made, hard = tmp_path / "scenes", tmp_path / "made", tmp_path / "hard.json"
    assert main(["scenes", "--out", str(shards), "--count", "24", "--size", "96"]) == 0
    assert main(["annotate", str(shards), "--out", str(made), "--stages", OFFLINE]) == 0
    samples = list(WebDataset(made))
    assert len(samples) > 12
    assert any(region.negatives for sample in samples for region in sample.regions)
    assert (tmp_path / "made.annotation" / "report.html").stat().st_size > 10_000
    train = ["train", "fg_clip:smoke", "--set", "steps=2", "--set", "batch_size=4"]
    assert main([*train, "--data", str(made), "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "model.safetensors").is_file()

    assert main(["annotate", str(made), "--out", str(hard), "--stages", "filter"]) == 0
    assert isinstance(open_source(hard), FineHard)
    assert main([*train, "--data", str(hard), "--out", str(tmp_path / "run2")]) == 0


@pytest.mark.slow
def test_photos_with_their_captions_become_training_data(shared_data, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    pictures = json.loads((shared_data / "coco" / "annotations.json").read_text())["images"]
    told = [picture for picture in pictures if picture["captions"]][:16]
    for picture in told:
        file = folder / f"{picture['id']:012d}.jpg"
        file.symlink_to(shared_data / "coco" / "images" / file.name)
        file.with_suffix(".txt").write_text(f"{picture['captions'][0]}\n{' '.join(picture['captions'])}")
    made = tmp_path / "made"
    assert main(["annotate", str(folder), "--out", str(made), "--stages", OFFLINE]) == 0
    assert any(sample.regions for sample in WebDataset(made))
    train = ["train", "fg_clip:smoke", "--set", "steps=1", "--set", "batch_size=2", "--data", str(made)]
    assert main([*train, "--out", str(tmp_path / "run")]) == 0
