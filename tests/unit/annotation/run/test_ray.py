import warnings
from dataclasses import dataclass, replace

import pytest

from foveal.annotation.run.journal import Journal
from foveal.annotation.run.output import Output
from foveal.annotation.run.pipeline import Annotation, engine_of
from foveal.annotation.run.ray import Ray, cut
from foveal.annotation.stage import Halted
from foveal.annotation.stages.caption import Caption
from foveal.data.formats import Jsonl, WebDataset
from foveal.data.numbered import numbered
from foveal.data.scenes import Scenes


@pytest.fixture
def shards(samples, tmp_path):
    part = WebDataset(tmp_path / "shards", samples_per_shard=5)
    part.write(samples)
    return part


@pytest.fixture
def lines(samples, tmp_path):
    part = Jsonl(tmp_path / "in" / "plain.jsonl")
    part.write(samples)
    return part


@pytest.mark.parametrize("start", [0, 1, 4, 5, 7, 10, 11, 12])
@pytest.mark.parametrize("kind", ["shards", "lines"])
def test_pieces_are_the_whole_source_from_a_number_on(request, kind, start):
    source = request.getfixturevalue(kind)
    pieces = cut(source, start, 4)
    found = [record().id for piece in pieces for _, record in numbered(piece.source, piece.start, piece.stop)]
    assert found == [f"s{number}" for number in range(start, 12)]
    assert all(any(True for _ in numbered(piece.source, piece.start, piece.stop)) for piece in pieces)


@pytest.fixture
def quiet(monkeypatch):
    """A cluster of this machine's two cores; what Ray itself warns of is none of our business."""
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


def test_ray_is_started_without_its_dashboard(lines, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

    def started(**options):
        raise Halted(f"with {options['include_dashboard']}")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", started)
    with pytest.raises(Halted, match="with False"):
        next(Ray()(lines, {}, None, 0, None))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shards", "lines"])
def test_ray_writes_what_one_process_writes_and_asks_nothing_twice(
    quiet, request, chat, reply, assistant, tmp_path, kind
):
    source = request.getfixturevalue(kind)
    chat.reply = lambda turn, body: reply(wait=0.01)
    local = Annotation(
        source, "in", {"caption": Caption(assistant=assistant)}, Output(tmp_path / "local.jsonl"), assistant
    )
    local.run()
    other = replace(assistant, answers=tmp_path / "other.sqlite")
    remote = replace(
        local, stages={"caption": Caption(assistant=other)}, output=Output(tmp_path / "ray.jsonl"), assistant=other
    )
    summary = remote.run(engine=Ray(2))
    assert summary.spend.answers == 12
    assert set(chat.asked.values()) == {2}  # once by each
    names = ["journal.jsonl", "failed.jsonl"]
    for name in names:
        assert (remote.output.memory / name).read_bytes() == (local.output.memory / name).read_bytes()
    assert [replace(one, image=b"") for one in Jsonl(remote.output.path)] == [
        replace(one, image=b"") for one in Jsonl(local.output.path)
    ]
    journal = remote.output.memory / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:7]))
    for _ in range(2):  # the second time nothing is left to do
        remote.run("resume", engine=Ray(2))
    assert journal.read_bytes() == (local.output.memory / "journal.jsonl").read_bytes()
    assert set(chat.asked.values()) == {2}


@pytest.mark.slow
def test_near_duplicates_are_those_of_one_process(quiet, tmp_path):
    source = Scenes(count=6, size=64)
    twice = Jsonl(tmp_path / "in" / "twice.jsonl")
    twice.write(replace(source.sample(number // 2), id=f"s{number}") for number in range(12))
    made = [
        Annotation(twice, "in", {"stop": Stop("")}, Output(tmp_path / f"{name}.jsonl"), near_duplicates=6)
        for name in ("local", "ray")
    ]
    made[0].run()
    made[1].run(engine=Ray(2))
    journals = [(one.output.memory / "journal.jsonl").read_bytes() for one in made]
    assert journals[0] == journals[1]
    assert len(list(Jsonl(made[1].output.path))) == 6


@dataclass(frozen=True)
class Stop:
    at: str

    def __call__(self, sample):
        if sample.id == self.at:
            raise Halted("The endpoint is down.")
        return sample


@pytest.mark.slow
def test_a_worker_that_halts_ends_the_run_and_the_work_is_kept(quiet, lines, tmp_path):
    made = Annotation(lines, "in", {"stop": Stop("s5")}, Output(tmp_path / "out.jsonl"))
    with pytest.raises(Halted, match=r"The endpoint is down\. 5 samples are kept"):
        made.run(engine=engine_of("ray", 1))
    assert len(Journal(made.output.memory / "journal.jsonl")) == 5
