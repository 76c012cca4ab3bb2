import errno
import itertools
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from foveal.annotation.detectors import AssistantDetector
from foveal.annotation.run import report
from foveal.annotation.run.journal import Journal
from foveal.annotation.run.output import Output
from foveal.annotation.run.pipeline import Annotation, beginning, engine_of
from foveal.annotation.run.tally import Tally
from foveal.annotation.stage import Dropped, Halted, remark
from foveal.annotation.stages.caption import Caption
from foveal.annotation.stages.ground import GroundByAsking
from foveal.data.formats import FineHard, Jsonl, Parquet, WebDataset, open_source
from foveal.data.formats.pictures import encoded
from foveal.types import Negative, Region, Sample


@dataclass(frozen=True)
class Add:
    """A region with a near miss for every sample; drops some, cannot work on some."""

    phrase: str = "a red cup"
    dropped: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def __call__(self, sample):
        if sample.id in self.dropped:
            raise Dropped("too dull")
        if sample.id in self.broken:
            raise ValueError("no cup: none at all")
        remark("cups added", 2)
        near = (Negative(self.phrase.replace("red", "blue"), "color"),)
        return replace(sample, regions=(*sample.regions, Region((0.1, 0.2, 0.5, 0.75), self.phrase, near)))


@dataclass(frozen=True)
class Batched:
    """Works on several samples at once, and remembers how many."""

    batch_size: int = 4
    sizes: list = field(default_factory=list, compare=False, repr=False)
    broken: tuple[str, ...] = ()

    def __call__(self, sample):
        (result,) = self.batch([sample])
        if not isinstance(result, Sample):
            raise result
        return result

    def batch(self, samples):
        if any(sample.id in self.broken for sample in samples):
            raise ValueError("a batch with a broken one")
        self.sizes.append(len(samples))
        for sample in samples:
            remark("looked at")
            is_odd = int(sample.id[1:]) % 2
            yield Dropped("odd") if is_odd else replace(sample, long_caption="even")


@dataclass(frozen=True)
class Stop:
    """Halts at a sample."""

    at: str

    def __call__(self, sample):
        if sample.id == self.at:
            raise Halted("The endpoint is down.")
        return sample


@dataclass(frozen=True)
class Waiting:
    """Takes its time, a different one for each sample, in threads."""

    concurrency: int = 8

    def __call__(self, sample):
        time.sleep(random.Random(sample.id).uniform(0, 0.01))
        return replace(sample, long_caption=f"about {sample.id}")


@dataclass(frozen=True)
class Look:
    """Says how many samples it saw before the first came."""

    count: int = -1

    def prepared(self, samples):
        return Look(sum(1 for _ in samples))

    def __call__(self, sample):
        return replace(sample, captions=(f"one of {self.count}",))


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    """Drawing takes longer than all else here; test_report.py looks at what is drawn."""
    monkeypatch.setattr(report, "plots", lambda tally: [])


@pytest.fixture
def source(samples, tmp_path):
    """Twelve pictures in JSON Lines."""
    part = Jsonl(tmp_path / "in" / "plain.jsonl")
    part.write(samples)
    return part


@pytest.fixture
def annotation(source, tmp_path):
    def make(stages=None, out="out.jsonl", source=source, **other):
        return Annotation(source, "in", stages or {"add": Add()}, Output(tmp_path / out), **other)

    return make


def outcome(annotation):
    """All that a run leaves behind but its report and the name of the run."""
    memory = annotation.output.memory
    return [(memory / name).read_bytes() for name in ("journal.jsonl", "failed.jsonl")] + [
        annotation.output.path.read_bytes()
    ]


def test_samples_pass_through_stages_in_order(annotation, source):
    made = annotation({"one": Add(), "two": Add("a red book"), "three": Batched()})
    summary = made.run()
    assert (summary.samples, summary.written, summary.dropped, summary.failed) == (12, 6, 6, 0)
    samples = list(Jsonl(made.output.path))
    assert [sample.id for sample in samples] == [f"s{number}" for number in range(0, 12, 2)]
    assert [region.phrase for region in samples[0].regions] == ["a red cup", "a red book"]
    assert [encoded(sample) for sample in samples] == [encoded(source.sample(number)) for number in range(0, 12, 2)]
    assert made.stages["three"].sizes == [4, 4, 4]


def test_a_sample_is_dropped_or_kept_aside_and_the_others_go_on(annotation):
    made = annotation({"add": Add(dropped=("s1", "s2"), broken=("s4",)), "more": Add("a red bag")})
    summary = made.run()
    assert (summary.written, summary.dropped, summary.failed) == (9, 2, 1)
    assert "9 written, 2 dropped, 1 failed. Try those again with --retry." in str(summary)
    (line,) = (made.output.memory / "failed.jsonl").read_text().splitlines()
    assert json.loads(line) == {"number": 4, "id": "s4", "stage": "add", "error": "no cup: none at all"}
    numbers = json.loads((made.output.memory / "report.json").read_text())
    stage = numbers["stages"]["add"]
    assert (stage["came"], stage["passed"], stage["regions"], stage["negatives"]) == (12, 9, 9, 9)
    assert (stage["dropped"], stage["failed"]) == ({"too dull": 2}, {"no cup": 1})
    assert numbers["stages"]["more"]["came"] == 9
    assert stage["remarks"] == {"cups added": 18}
    assert numbers["kinds"] == {"color": 18}


def test_a_broken_picture_is_kept_aside(annotation, samples, picture, tmp_path):
    empty, text, gif = (tmp_path / f"{name}.jpg" for name in ("empty", "text", "gif"))
    empty.write_bytes(b"")
    text.write_text("no picture")
    gif.write_bytes(b"GIF89a")
    cut = picture(size=(300, 300))[:400]
    images = [empty, text, gif, cut, tmp_path / "absent.jpg", picture()]
    some = [Sample(str(number), image) for number, image in enumerate(images)]
    listed = Listed(tuple(some))
    made = annotation(source=listed)
    summary = made.run()
    assert (summary.written, summary.failed) == (1, 5)
    errors = [json.loads(line) for line in (made.output.memory / "failed.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in errors} == {"read"}
    told = [line["error"] for line in errors]
    for words, error in zip(
        ("begins with b''", "none of JPEG", "of 6 bytes", "cannot be read", "absent.jpg"), told, strict=True
    ):
        assert words in error


@dataclass(frozen=True)
class Listed:
    """Samples by number; those that are errors are raised."""

    samples: tuple

    def __len__(self):
        return len(self.samples)

    def sample(self, index):
        if isinstance(self.samples[index], Exception):
            raise self.samples[index]
        return self.samples[index]


def test_a_line_of_the_source_that_cannot_be_read_is_kept_aside(annotation, samples):
    made = annotation(source=Listed((samples[0], ValueError("in.jsonl:2: not a sample"), samples[2])))
    assert (made.run().written, Journal(made.output.memory / "journal.jsonl").failed().keys()) == (2, {1})


def test_what_the_reader_left_out_of_samples_is_counted_in_the_report(annotation, samples):
    notes = ("box without area: [1, 1, 1, 2]", "box without area: [3, 3, 4, 3]", "no text in 'captions': 3")
    made = annotation(
        source=Listed((replace(samples[0], notes=notes), samples[1], replace(samples[2], notes=notes[2:])))
    )
    assert made.run().written == 3
    remarks = json.loads((made.output.memory / "report.json").read_text())["stages"]["read"]["remarks"]
    assert remarks == {"left out: box without area": 2, "left out: no text in 'captions'": 2}


def test_a_fault_of_the_program_ends_the_run_and_the_work_is_kept(annotation):
    @dataclass(frozen=True)
    class Faulty:
        def __call__(self, sample):
            return sample if sample.id != "s7" else sample.no_such_field

    made = annotation({"add": Add(), "faulty": Faulty()})
    with pytest.raises(AttributeError):
        made.run()
    assert len(Journal(made.output.memory / "journal.jsonl")) == 7
    assert not made.output.path.exists()


def test_one_broken_sample_does_not_spoil_its_batch(annotation):
    made = annotation({"batched": Batched(broken=("s4",))})
    summary = made.run()
    assert (summary.written, summary.dropped, summary.failed) == (5, 6, 1)
    assert made.stages["batched"].sizes == [4, 1, 1, 1, 4]
    remarks = json.loads((made.output.memory / "report.json").read_text())["stages"]["batched"]["remarks"]
    assert remarks == {"looked at": 11}


def test_a_stage_may_look_at_what_can_be_read_of_the_first_samples(annotation):
    def captions(source, **fields):
        made = annotation({"look": Look()}, source=source, **fields)
        made.run("overwrite")
        return {sample.captions for sample in Jsonl(made.output.path)}

    part = annotation().source
    assert captions(part) == {("one of 12",)}
    lines = part.path.read_text().splitlines()
    broken = Jsonl(part.path.with_name("broken.jsonl"))
    broken.path.write_text("\n".join(["no JSON", *lines[1:]]))
    assert captions(broken) == {("one of 11",)}
    assert captions(part, looked_at=5) == {("one of 5",)}


def test_ctrl_c_while_a_stage_looks_says_how_to_go_on(annotation, monkeypatch):
    def stop(_, samples):
        next(samples)
        raise KeyboardInterrupt

    made = annotation({"look": Look()})
    with monkeypatch.context() as patch:
        patch.setattr(Look, "prepared", stop)
        with pytest.raises(KeyboardInterrupt, match=r"0 samples are kept in .*--resume"):
            made.run()
    assert made.run("resume").written == 12


@pytest.mark.parametrize("cut", [0, 1, 5, 11, 12])
def test_a_run_that_was_killed_goes_on_to_the_same_output(annotation, cut):
    stages = {"add": Add(dropped=("s1",), broken=("s4",)), "look": Look(), "batched": Batched()}
    whole, killed = annotation(stages), annotation(stages, "killed.jsonl")
    whole.run()
    killed.run()
    journal = killed.output.memory / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    torn = lines[cut][: len(lines[cut]) // 2] if cut < len(lines) else b""
    journal.write_bytes(b"".join(lines[:cut]) + torn)
    killed.output.path.unlink()
    assert killed.run("resume").samples == 12
    assert outcome(killed) == outcome(whole)


def noisy(number, size=(64, 48)):
    """A picture with a fingerprint of its own."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    data = BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(data, "JPEG", quality=95)
    return data.getvalue()


@pytest.mark.parametrize("cut", [None, 3, 5])
def test_near_duplicates_are_dropped_before_any_stage_and_after_a_kill_too(annotation, cut):
    images = [noisy(0), noisy(1), noisy(0, (96, 72)), noisy(2), noisy(1, (60, 48)), noisy(0), noisy(3)]
    source = Listed(tuple(Sample(f"s{number}", image, ("a cup",)) for number, image in enumerate(images)))
    made = annotation({"add": Add()}, source=source, near_duplicates=6)
    summary = made.run()
    if cut is not None:
        journal = made.output.memory / "journal.jsonl"
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:cut]))
        summary = made.run("resume")
    assert [sample.id for sample in Jsonl(made.output.path)] == ["s0", "s1", "s3", "s6"]
    assert (summary.samples, summary.dropped) == (7, 3)
    numbers = json.loads((made.output.memory / "report.json").read_text())["stages"]
    assert numbers["read"]["dropped"] == {"near-duplicate picture": 3}
    assert numbers["add"]["came"] == 4


def test_halting_keeps_the_work_and_says_how_to_go_on(annotation):
    made = annotation({"add": Add(), "stop": Stop("s5")})
    with pytest.raises(Halted, match=r"endpoint is down\. 5 samples are kept in .*annotation; go on with --resume\."):
        made.run()
    assert not made.output.path.exists()
    with pytest.raises(ValueError, match=r"other settings \(stop: Stop\(at='s5'\), now Stop\(at='none'\)\)"):
        annotation({"add": Add(), "stop": Stop("none")}).run("resume")


def test_the_output_is_written_while_annotating_and_appears_when_it_is_whole(annotation):
    seen = []

    @dataclass(frozen=True)
    class Watch:
        def __call__(self, sample):
            half_written = made.output.path.parent.glob(".shards.partial/.*.partial")
            seen.append((bool(list(half_written)), made.output.path.exists()))
            return sample

    made = annotation({"watch": Watch()}, out="shards")
    made.run()
    assert seen[-1] == (True, False)
    assert len(list(WebDataset(made.output.path))) == 12


def test_a_full_disk_is_said_and_the_work_is_kept(annotation, monkeypatch):
    add, count = Tally.add, itertools.count()

    def full(self, entry):
        if next(count) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, entry)

    made = annotation()
    with monkeypatch.context() as patch:
        patch.setattr(Tally, "add", full)
        with pytest.raises(
            ValueError, match=r"The disk of '.*' is full\. 6 samples are kept in .*; go on with --resume"
        ):
            made.run()
    assert not made.output.path.exists()
    assert made.run("resume").written == 12


def test_ctrl_c_keeps_the_work_and_says_how_to_go_on(annotation, monkeypatch):
    add, count = Tally.add, itertools.count()

    def interrupted(self, entry):
        if next(count) == 5:
            raise KeyboardInterrupt
        add(self, entry)

    made = annotation({"add": Add(), "waiting": Waiting()})
    with monkeypatch.context() as patch:
        patch.setattr(Tally, "add", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"6 samples are kept in .*; go on with --resume"):
            made.run()
    whole = annotation({"add": Add(), "waiting": Waiting()}, "whole.jsonl")
    whole.run()
    made.run("resume")
    assert outcome(made) == outcome(whole)


def test_failed_samples_can_be_tried_again_alone(annotation):
    made = annotation({"add": Add(dropped=("s2",), broken=("s4", "s9"))})
    made.run()
    seen = []

    @dataclass(frozen=True)
    class Mended(Add):
        def __call__(self, sample):
            seen.append(sample.id)
            return Add(broken=("s9",))(sample)

        def __repr__(self):
            return repr(made.stages["add"])

    summary = annotation({"add": Mended()}).run("retry")
    assert seen == ["s4", "s9"]
    assert (summary.samples, summary.written, summary.dropped, summary.failed) == (12, 10, 1, 1)
    assert [sample.id for sample in Jsonl(made.output.path)] == [f"s{n}" for n in range(12) if n not in (2, 9)]
    assert len((made.output.memory / "failed.jsonl").read_text().splitlines()) == 1
    assert made.run("resume").written == 10


def test_a_retry_before_the_end_does_not_disturb_what_follows(annotation):
    stages = {"add": Add(broken=("s1",)), "stop": Stop("s5")}
    made = annotation(stages)
    with pytest.raises(Halted):
        made.run()
    made.run("retry")
    with pytest.raises(Halted, match="5 samples are kept"):
        made.run("resume")
    lines = (made.output.memory / "journal.jsonl").read_text().splitlines()
    numbers = [json.loads(line)["number"] for line in lines]
    assert numbers == [0, 1, 2, 3, 4, 1]


def test_a_run_that_was_begun_before_its_detector_got_another_name_goes_on(annotation, assistant):
    run = annotation({"ground": GroundByAsking(AssistantDetector(assistant))})
    run.run()
    state = run.output.memory / "run.json"
    renamed = state.read_text().replace("detector=AssistantDetector(", "detector=Pointing(")
    assert renamed != state.read_text()
    state.write_text(renamed)
    assert run.run("resume").written == 12


def test_what_is_there_is_refused_gone_on_with_or_replaced(annotation, tmp_path):
    made = annotation()
    with pytest.raises(ValueError, match=r"no run at .* Begin one with --overwrite"):
        made.run("retry")
    made.run()
    with pytest.raises(ValueError, match=r"there already. Go on with --resume, begin anew with --overwrite"):
        made.run()
    before = outcome(made)
    made.run("resume")
    assert outcome(made) == before
    other = annotation({"add": Add("a red bag")})
    with pytest.raises(ValueError, match="begun with other settings"):
        other.run("resume")
    other.run("overwrite")
    assert {sample.regions[0].phrase for sample in Jsonl(other.output.path)} == {"a red bag"}
    stranger = tmp_path / "mine.jsonl"
    stranger.write_text("mine")
    for begin in ("new", "resume"):
        with pytest.raises(ValueError, match=r"is there already|no run at"):
            annotation(out="mine.jsonl").run(begin)
    assert stranger.read_text() == "mine"


def test_only_shards_are_ever_removed_from_a_folder(annotation, tmp_path):
    made = annotation(out="shards")
    made.run()
    assert len(list(WebDataset(made.output.path))) == 12
    made.run("overwrite")
    (made.output.path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds more than shards \(notes.txt"):
        made.run("overwrite")
    assert len(list(WebDataset(made.output.path))) == 12


def test_contradictions_and_unknown_names_are_refused(annotation):
    with pytest.raises(ValueError, match="--resume and --retry exclude each other"):
        beginning(resume=True, overwrite=False, retry=True)
    assert [
        beginning(resume=False, overwrite=False, retry=False),
        beginning(resume=False, overwrite=True, retry=False),
    ] == ["new", "overwrite"]
    assert engine_of("local", 1, asks=True) is engine_of("local") is None
    with pytest.raises(ValueError, match=r"asked from one process, not from 2\. Leave out workers"):
        engine_of("local", 2, asks=True)
    with pytest.raises(ValueError, match="cannot be 0 workers"):
        engine_of("ray", 0)
    with pytest.raises(ValueError, match=r"no engine 'spark'. There are: local, ray"):
        engine_of("spark", 2)
    with pytest.raises(ValueError, match=r"'.*out.xml' is of no known kind to write"):
        annotation(out="out.xml").run()


@pytest.mark.parametrize(
    ("out", "part"),
    [("a.jsonl", Jsonl), ("a.json", FineHard), ("a.parquet", Parquet), ("a.tar", WebDataset), ("a", WebDataset)],
)
def test_output_of_every_kind_reads_back(annotation, out, part):
    made = annotation(out=out)
    made.run()
    samples = list(open_source(made.output.path))
    assert isinstance(open_source(made.output.path), part)
    assert [sample.id for sample in samples] == [f"s{number}" for number in range(12)]
    region = samples[0].regions[0]
    assert (region.box, region.phrase, region.negatives[0].text) == ((0.1, 0.2, 0.5, 0.75), "a red cup", "a blue cup")
    left_out = json.loads((made.output.memory / "report.json").read_text())["left_out"]
    assert left_out == ({"kinds of near misses": 12} if part is FineHard else {})


def test_shards_as_input_resume_in_the_middle(samples, annotation, tmp_path):
    shards = WebDataset(tmp_path / "shards", samples_per_shard=5)
    shards.write(samples)
    whole, killed = annotation(source=shards), annotation(source=shards, out="killed.jsonl")
    whole.run()
    killed.run()
    journal = killed.output.memory / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:7]))
    killed.run("resume")
    assert outcome(killed)[0] == outcome(whole)[0]


def test_a_source_that_has_shrunk_is_noticed(annotation, samples):
    made = annotation()
    made.run()
    with pytest.raises(ValueError, match="has fewer samples than when the run began"):
        annotation(source=Listed(tuple(samples[:5]))).run("resume")


def test_nothing_coming_through_leaves_a_report_and_no_output(annotation):
    made = annotation({"add": Add(dropped=tuple(f"s{number}" for number in range(12)))})
    summary = made.run()
    assert (summary.written, summary.dropped) == (0, 12)
    assert summary.report.exists()
    assert not made.output.path.exists()


def captions_of(assistant):
    return {"caption": Caption(assistant=assistant)}


def test_a_run_against_an_endpoint_in_trouble_loses_nothing_and_asks_nothing_twice(
    annotation, chat, reply, assistant, source
):
    """Each sample meets another trouble, one after the other; those that can't be helped are kept aside."""
    troubles = [
        [],
        [{"status": 500}, {"status": 503}],
        [{"cut": True}],
        [{"status": 429, "headers": {"Retry-After": "0.02"}}],
        [{"raw": "{"}],
        [{"text": "no JSON"}],
        [{"text": {"long_caption": "", "short_caption": "Short."}}],
        [{"wait": 0.3}],
        [{"text": "I'm sorry, I can't help with this image."}] * 9,
        [{"text": {"long_caption": "I cannot see the image.", "short_caption": "Sorry."}}] * 9,
        [{"text": "no JSON"}] * 9,
        [{"status": 500}] * 9,
    ]
    pictures = {}

    def troubled(turn, body):
        url = body["messages"][0]["content"][1]["image_url"]["url"]
        mine = troubles[pictures[url]]
        return reply(**mine[turn]) if turn < len(mine) else reply()

    from foveal.annotation.assistant.assistant import data_url

    for number in range(12):
        pictures[data_url(encoded(source.sample(number)), 1024)] = number
    chat.reply = troubled
    made = annotation(captions_of(assistant), assistant=assistant)
    summary = made.run()
    assert (summary.written, summary.failed) == (8, 4)
    failed = Journal(made.output.memory / "journal.jsonl").failed()
    assert {number: entry["error"].partition(":")[0] for number, entry in failed.items()} == {
        8: "refused",
        9: "refused",
        10: "answers that do not fit",
        11: "no answer from the endpoint",
    }
    asked = [1, 3, 2, 2, 2, 2, 2, 1, 1, 1, 2, 4]
    assert sorted(chat.asked.values()) == sorted(asked)
    paid = [1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 2, 0]
    assert chat.paid == summary.spend.answers == sum(paid)
    assert summary.spend.cost == pytest.approx(sum(paid) * (100 * 1 + 20 * 10) / 1e6)
    assert f"{sum(paid)} answers, {100 * sum(paid):,} + {20 * sum(paid)} tokens, 0.0042 spent" in str(summary)

    before = Counter(chat.asked)
    again = annotation(captions_of(assistant), out="again.jsonl", assistant=assistant)
    again.run()  # another run with the same answers: only what never came is asked for
    assert sorted((chat.asked - before).values()) == [4]
    assert again.run("resume").spend.answers == 0


def test_an_endpoint_that_goes_down_costs_nothing_twice(annotation, chat, reply, assistant):
    answers = iter(range(7))
    chat.reply = lambda turn, body: reply() if next(answers, None) is not None else reply(status=401)
    made = annotation(captions_of(assistant), assistant=assistant)
    with pytest.raises(Halted, match=r"refuses the key .* samples are kept in .*; go on with --resume"):
        made.run()
    chat.reply = lambda turn, body: reply()
    healed = replace(assistant)
    summary = annotation(captions_of(healed), assistant=healed).run("resume")
    assert (summary.written, summary.failed) == (12, 0)
    assert set(chat.answered.values()) == {1}
    assert summary.spend.answers == chat.paid == 12


def test_a_retry_asks_again_what_was_refused(annotation, chat, reply, assistant):
    chat.reply = lambda turn, body: reply("I'm sorry, I can't help with that.")
    made = annotation(captions_of(assistant), assistant=assistant)
    assert made.run().failed == 12
    chat.reply = lambda turn, body: reply()
    patient = replace(assistant, fresh=True)
    summary = annotation(captions_of(patient), assistant=patient).run("retry")
    assert (summary.written, summary.failed, summary.spend.answers) == (12, 0, 24)
    assert {sample.long_caption for sample in Jsonl(made.output.path)} == {
        "A red cup stands on a small wooden table beside a blue book."
    }


def test_memory_stays_where_it_is_however_many_samples_pass(annotation, picture, tmp_path):
    """Neither the flow nor the report holds on to samples: at most a bounded number is alive at once."""
    import gc

    @dataclass(frozen=True)
    class Endless:
        count: int

        def __len__(self):
            return self.count

        def sample(self, index):
            return Sample(f"s{index}", picture(), ("a cup",))

    def count_samples():
        return sum(type(one) is Sample for one in gc.get_objects())

    gc.collect()
    elsewhere, alive = count_samples(), []

    @dataclass(frozen=True)
    class Watch:
        def __call__(self, sample):
            if int(sample.id[1:]) % 100 == 99:
                alive.append(count_samples() - elsewhere)
            return sample

    annotation({"watch": Watch()}, source=Endless(300), out="many").run()
    assert len(alive) == 3
    assert max(alive) < 100
