"""Runs that an earlier version left half done: tests/fixtures/annotation_0_1, by version 0.1.0 before it had rooms."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from foveal.annotation import Annotation, Assistant, Caption, Filter, Negatives, Output, Phrases
from foveal.data.formats import open_source

BEFORE = Path(__file__).parents[2] / "fixtures" / "annotation_0_1"


@pytest.fixture
def half_done(tmp_path, monkeypatch):
    """A run of four pictures, two of them in its journal, all answers paid for; its endpoint is gone."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(BEFORE / "photos", "photos")
    output = Output(Path("out.jsonl"))
    output.memory.mkdir()
    for name in ("journal.jsonl", "run.json"):
        shutil.copy(BEFORE / name, output.memory / name)
    with sqlite3.connect(output.memory / "answers.sqlite") as answers:
        answers.executescript((BEFORE / "answers.sql").read_text(encoding="utf-8"))
    answers.close()
    assistant = Assistant(
        endpoint="http://127.0.0.1:9/v1", model="tiny-vl", answers=output.memory / "answers.sqlite", tries=1
    )
    stages = {
        "caption": Caption(assistant=assistant),
        "phrases": Phrases(parser="rules"),
        "negatives": Negatives(count=2),
        "filter": Filter(),
    }
    yield Annotation(open_source("photos"), "photos", stages, output, assistant, near_duplicates=6)
    assistant.close()


def test_a_run_of_an_earlier_version_goes_on_and_asks_nothing_twice(half_done):
    summary = half_done.run("resume")
    assert (summary.samples, summary.written, summary.failed) == (4, 4, 0)
    assert summary.spend.answers == 4
    written = half_done.output.path.read_text(encoding="utf-8").splitlines()
    assert written[:2] == (BEFORE / "out.jsonl").read_text(encoding="utf-8").splitlines()


def test_other_settings_than_the_earlier_version_had_are_refused(half_done):
    half_done.stages["negatives"] = Negatives(count=3)
    with pytest.raises(ValueError, match=r"begun with other settings \(negatives: Negatives\(count=2"):
        half_done.run("resume")
