"""Endpoints, detectors and stages that give nonsense: every sample ends somewhere, and a run can always go on."""

import json
import logging
import math
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from foveal.annotation.assistant.answers import Answer
from foveal.annotation.assistant.assistant import Assistant
from foveal.annotation.detectors import Detection
from foveal.annotation.run import report
from foveal.annotation.run.output import Output
from foveal.annotation.run.pipeline import Annotation
from foveal.annotation.stage import WHOLE, listening
from foveal.annotation.stages.caption import SCHEMA, Caption
from foveal.annotation.stages.ground import Choice, Ground
from foveal.data.formats import Jsonl
from foveal.types import Negative, Region, Sample

BOX = (0.1, 0.2, 0.5, 0.75)
GOOD = {"long_caption": "A red cup stands on a table.", "short_caption": "A red cup."}


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    monkeypatch.setattr(report, "plots", lambda tally: [])


@dataclass(frozen=True)
class Listed:
    samples: tuple

    def __len__(self):
        return len(self.samples)

    def sample(self, index):
        return self.samples[index]


@pytest.fixture
def annotation(picture, tmp_path):
    number = count()

    def make(stages, samples=3, **other):
        part = Listed(tuple(Sample(f"s{index}", picture(index)) for index in range(samples)))
        return Annotation(part, "in", stages, Output(tmp_path / str(next(number)) / "out.jsonl"), **other)

    return make


def left_behind(made):
    names = [made.output.memory / name for name in ("journal.jsonl", "failed.jsonl")]
    files = [file.read_bytes() for file in (*names, made.output.path) if file.exists()]
    assert all(json.loads(line) for file in files for line in file.decode().splitlines())
    return files


def conserved(made, summary):
    """All samples are somewhere, and going on finds them there again."""
    assert summary.samples == len(made.source)
    assert summary.samples == summary.written + summary.dropped + summary.failed
    before = left_behind(made)
    lines = [len(file.splitlines()) for file in before]
    assert lines == [summary.samples, summary.failed, summary.written][: len(lines)]
    again = made.run("resume")
    assert str(again) == str(summary)
    assert left_behind(made) == before


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "\x00", "\n"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
TEXTS = st.text() | st.fixed_dictionaries({"long_caption": VALUES, "short_caption": VALUES}).map(json.dumps)


def completion(content, usage=None, finish="stop"):
    return json.dumps({"choices": [{"message": {"content": content}, "finish_reason": finish}], "usage": usage})


ANSWERS = (
    st.binary()
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.builds(completion, TEXTS | VALUES, VALUES, VALUES).map(str.encode)
    | st.builds(completion, TEXTS).map(str.encode)
    | st.just(completion(json.dumps(GOOD)).encode())
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANSWERS, min_size=1, max_size=4))
@example([completion(json.dumps(GOOD).replace("cup", "\\ud800")).encode()])
@example([completion(json.dumps(GOOD | {"\udfff": 1})).encode(), completion(json.dumps(GOOD)).encode()])
@example([completion('{"long_caption": ' + "[" * 100_000).encode(), completion(json.dumps(GOOD)).encode()])
@example([b"[" * 100_000])
@example([completion(json.dumps(GOOD), {"prompt_tokens": 10**400}).encode()])
@example([completion(json.dumps(GOOD | {"short_caption": "a\x00b\x1b[2J\u2028c"})).encode()])
def test_whatever_an_endpoint_answers_rows_are_conserved_and_going_on_gives_the_same(
    annotation, chat, reply, tmp_path, answers
):
    chat.asked.clear()
    turn = count()
    chat.reply = lambda _, body: reply(raw=answers[next(turn) % len(answers)])
    made = annotation({})
    path = made.output.memory / "answers.sqlite"
    assistant = Assistant(endpoint=chat.url, model="m", answers=path, tries=2, pause=0.001, concurrency=2)
    made = replace(made, stages={"caption": Caption(assistant=assistant)}, assistant=assistant)
    summary = made.run()
    asked = len(chat.bodies)
    conserved(made, summary)
    assert len(chat.bodies) == asked
    assert summary.is_vain == (summary.written == 0)
    if made.output.path.exists():
        assert len(list(Jsonl(made.output.path))) == summary.written


def test_a_poisoned_answer_of_an_earlier_version_ends_no_run(annotation, chat, reply, caplog):
    poison = json.dumps(GOOD).replace("cup", "\\ud800")
    chat.reply = lambda turn, body: reply(GOOD)
    made = annotation({}, samples=1)
    assistant = Assistant(endpoint=chat.url, model="m", answers=made.output.memory / "answers.sqlite")
    stage = Caption(assistant=assistant)
    key = assistant._key(stage._question, SCHEMA, made.source.sample(0).image)
    assistant.answer_store.add(key, Answer(poison, "stop", 1, 1, 0.0))
    made = replace(made, stages={"caption": stage}, assistant=assistant)
    conserved(made, made.run())
    assert "answers.sqlite: an answer is dropped: it holds half of a surrogate pair" in caplog.text
    assert [sample.long_caption for sample in Jsonl(made.output.path)] == [GOOD["long_caption"]]


@dataclass(frozen=True)
class Give:
    """Gives one sample a region that it was told to; the others a good one."""

    region: Region

    def __call__(self, sample):
        return replace(sample, regions=(self.region if sample.id == "s1" else Region(BOX, "a cup"),))


NAN = math.nan


def untyped(**fields):
    """A region as a stage may make one where nothing checks types."""
    region = Region(BOX, "a cup")
    for name, value in fields.items():
        object.__setattr__(region, name, value)
    return region


@pytest.mark.parametrize(
    "region",
    [
        Region((NAN, 0.2, 0.5, 0.75), "a cup"),
        Region((0.1, 0.2, math.inf, 0.75), "a cup"),
        Region((0.5, 0.2, 0.1, 0.75), "a cup"),
        Region((10.0, 20.0, 50.0, 75.0), "a cup"),
        untyped(box=(0.1, 0.2, 0.5)),
        untyped(box=np.array(BOX)),
        untyped(phrase=None),
        Region(BOX, "half \ud800"),
        Region(BOX, "a cup", (Negative("half \udfff", "object"),)),
    ],
    ids=str,
)
def test_a_sample_that_cannot_be_kept_fails_at_the_stage_that_made_it(annotation, region):
    made = annotation({"give": Give(region)})
    summary = made.run()
    assert (summary.written, summary.failed, summary.is_vain) == (2, 1, False)
    conserved(made, summary)
    (line,) = (made.output.memory / "failed.jsonl").read_text().splitlines()
    assert (json.loads(line)["id"], json.loads(line)["stage"]) == ("s1", "give")


def test_boxes_of_other_number_types_are_kept_as_plain_numbers(annotation):
    made = annotation({"give": Give(untyped(box=tuple(np.array(BOX, dtype=np.float32))))})
    conserved(made, made.run())
    assert list(Jsonl(made.output.path))[1].regions[0].box == pytest.approx(BOX)


def test_a_sample_whose_name_is_no_text_cannot_be_read_and_the_others_can(annotation):
    made = annotation({"give": Give(Region(BOX, "a cup"))})
    odd = replace(made.source.samples[1], id="r\udce9.jpg")
    made = replace(made, source=Listed((made.source.samples[0], odd, made.source.samples[2])))
    conserved(made, made.run())
    (line,) = (made.output.memory / "failed.jsonl").read_text().splitlines()
    assert json.loads(line)["error"].startswith("'r\\udce9.jpg': it holds half of a surrogate pair")


def test_what_an_error_says_is_kept_whatever_it_holds(annotation):
    @dataclass(frozen=True)
    class Failing:
        def __call__(self, sample):
            raise ValueError(f"no r\udce9 \x1b[2J in {sample.id}")

    made = annotation({"failing": Failing()})
    summary = made.run()
    assert summary.is_vain
    conserved(made, summary)


@pytest.mark.parametrize("box", ["NaN, 0.2, 0.5, 0.75", "0.5, 0.2, 0.1, 0.75", '"x", 0, 1, 1'])
def test_a_sample_that_an_earlier_version_spoilt_in_the_journal_is_kept_aside_and_can_be_retried(
    annotation, caplog, box
):
    made = annotation({"give": Give(Region(BOX, "a cup"))})
    made.run()
    journal = made.output.memory / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([lines[0], lines[1].replace(", ".join(map(str, BOX)), box), lines[2]]))
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            summary = made.run("resume")
        assert (summary.samples, summary.written, summary.failed) == (3, 2, 1)
    assert caplog.text.count("sample 1 is kept aside: what was made of it cannot be used") == 1
    (line,) = (made.output.memory / "failed.jsonl").read_text().splitlines()
    assert json.loads(line) | {"error": ""} == {"number": 1, "id": "s1", "stage": "give", "error": ""}
    assert made.run("retry").written == 3


@dataclass(frozen=True)
class Blind:
    """A detector that gives boxes which are none."""

    def find(self, pictures, phrases):
        boxes = [(NAN, 0.0, 1.0, 1.0), BOX, (0.0, 0.0, math.inf, 1.0), BOX]
        scores = [0.9, NAN, 0.9, 0.3]
        return [[Detection(0, box, score) for box, score in zip(boxes, scores, strict=True)] for _ in pictures]


def test_boxes_and_scores_that_are_no_numbers_are_left_out_and_counted(picture):
    sample = Sample("a", picture(), regions=(Region(WHOLE, "a cup"),))
    with listening() as remarks:
        assert Ground(Blind(), Choice())(sample).regions == (Region(BOX, "a cup"),)
    assert remarks["box that is none"] == 3
