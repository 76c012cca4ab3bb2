import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import foveal
from foveal.data.formats import Jsonl
from foveal.data.scenes import Scenes
from foveal.data.tokenizer import Tokenizer
from foveal.encoder.protocol import Protocol
from foveal.models import weights
from foveal.models.dual_encoder import DualEncoder
from foveal.recipes.clip import smoke
from foveal.training import start as module
from foveal.training.logbook import read
from foveal.training.start import train


def test_a_training_that_begins_badly_leaves_no_folder(tmp_path):
    out = tmp_path / "run"
    for data, init, message in ((["nowhere.tar"], None, "No such file"), ([], tmp_path / "none", "There is no")):
        with pytest.raises(ValueError, match=message):
            train(smoke(), out, data=data, init=init, changes=[], progress=False)
        assert not out.exists()


@pytest.fixture
def begun(monkeypatch):
    """What would have been trained."""
    calls = []
    monkeypatch.setattr(module, "fit", lambda run, out, **options: calls.append((run, options)) or out)
    return calls


def test_data_and_changes_replace_those_of_the_recipe(begun, tmp_path):
    train(smoke(), tmp_path, data=["a.tar", "b.tar"], changes=["steps=7", "data.weights=1,3"])
    run, options = begun[0]
    data = replace(smoke().data, sources=("a.tar", "b.tar"), weights=(1.0, 3.0))
    assert run == replace(smoke(), data=data, steps=7)
    assert (options["init"], options["resume"], options["world"].size) == (None, False, 1)


def test_without_data_the_recipes_own_is_read(begun, tmp_path):
    train(smoke(), tmp_path, data=[], changes=[], init=tmp_path, resume=True)
    assert begun[0][0] == smoke()
    assert begun[0][1]["resume"]
    assert begun[0][1]["init"] == tmp_path


def test_data_of_ones_own_kind_takes_no_sources(small, begun, tmp_path):
    with pytest.raises(ValueError, match="The data of 'small', RandomData, has no sources"):
        train(small.small_run(), tmp_path, data=["a.tar"], changes=[])
    assert begun == []


@pytest.fixture
def commit(tmp_path, monkeypatch):
    """The commit of someone/clip, of which the hub's cache holds a snapshot. There is no network."""
    import huggingface_hub.constants as constants

    commit, repository = "c0ffee" * 6 + "beef", tmp_path / "cache/models--someone--clip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    weights.save(DualEncoder(smoke().model), snapshot)
    Protocol(family="clip", source="an/older-place", mean=(0.5, 0.5, 0.5)).write(snapshot)
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return commit


@pytest.mark.parametrize("pinned", [False, True])
def test_a_training_begins_from_a_hub_name_and_its_protocol_names_the_repository(begun, commit, tmp_path, pinned):
    train(smoke(), tmp_path / "out", init=f"someone/clip@{commit}" if pinned else "someone/clip")
    run, options = begun[0]
    assert run.data.transform.mean == (0.5, 0.5, 0.5)
    (tmp_path / "out").mkdir()
    run.data.write_protocol(tmp_path / "out", run.model, options["init"])
    protocol = Protocol.read(tmp_path / "out")
    assert (protocol.source, protocol.revision, protocol.licence) == ("someone/clip", commit, "mit")


def test_a_folder_comes_before_the_hub_name_that_it_looks_like(begun, commit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights.save(DualEncoder(smoke().model), tmp_path / "someone/clip")
    train(smoke(), tmp_path / "out", init="someone/clip")
    assert begun[0][1]["init"] == Path("someone/clip")


@pytest.mark.parametrize("name", ["someone/other", "someone/clip@v9"])
def test_a_beginning_that_is_neither_here_nor_on_the_hub_is_refused(begun, commit, tmp_path, name):
    with pytest.raises(ValueError, match=f"There is no folder {name} on this machine.* can't be had from the hub"):
        train(smoke(), tmp_path / "out", init=name)
    assert begun == []


@pytest.mark.slow
def test_a_training_hands_on_the_protocol_of_its_beginning(tmp_path):
    init, out = tmp_path / "init", tmp_path / "out"
    weights.save(DualEncoder(smoke().model), init)
    gray = Protocol(family="clip", resize="squash", mean=(0.5, 0.5, 0.5), source="someone/clip", licence="mit")
    gray.write(init)
    train(smoke(), out, data=["scenes:count=16"], init=init, changes=["steps=3"], progress=False)
    train(smoke(), out, data=["scenes:count=16"], resume=True, changes=["steps=6"], progress=False)
    way = replace(gray, resize=Protocol.of(smoke().data.transform, Tokenizer()).resize)
    for folder in (out, out / "checkpoints/step-000003", out / "checkpoints/step-000006"):
        assert foveal.load(folder).protocol == way


SHORT = ("batch_size=4", "data.long_captions=false", "machine.checkpoint_every=2")


def rows(folder, word="cat", count=6):
    """As many samples whose captions say a word."""
    samples = (replace(Scenes(size=32).sample(number), captions=(f"{word} {number}",)) for number in range(count))
    Jsonl(folder / "a.jsonl").write(samples)
    return [str(folder / "a.jsonl")]


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    """A folder with data, and a run that made two steps on it."""
    folder = tmp_path_factory.mktemp("two_steps")
    train(smoke(), folder / "run", data=rows(folder), changes=[*SHORT, "steps=2"], progress=False)
    return folder


@pytest.fixture
def on_disk(two_steps, tmp_path):
    """A copy of it; its run was begun elsewhere, so its data's place is another one."""
    return shutil.copytree(two_steps, tmp_path / "moved")


def resume(folder, *changes, data=None, steps=3):
    source = data or [str(folder / "a.jsonl")]
    train(
        smoke(), folder / "run", data=source, resume=True, changes=[*SHORT, f"steps={steps}", *changes], progress=False
    )
    return [line["step"] for line in read(folder / "run/log.jsonl")]


def test_a_run_resumes_where_its_data_was_moved_and_it_is_said(on_disk, two_steps, caplog):
    assert resume(on_disk) == [1, 2, 3]
    said = f"Source '{two_steps / 'a.jsonl'}' is now '{on_disk / 'a.jsonl'}', which holds the same."
    assert caplog.messages == [said]
    caplog.clear()
    assert resume(on_disk, steps=4) == [1, 2, 3, 4]
    assert caplog.messages == []


def test_data_replaced_by_as_much_of_another_is_refused_and_the_way_out_leads_on(on_disk):
    size = (on_disk / "a.jsonl").stat().st_size
    rows(on_disk, "dog")
    assert (on_disk / "a.jsonl").stat().st_size == size
    with pytest.raises(ValueError, match=r"'.*a\.jsonl': as many bytes as before, but others\)") as caught:
        resume(on_disk)
    assert "\n" not in str(caught.value)
    way = re.search(r"--set (\S+=\w+)", str(caught.value))[1]
    assert resume(on_disk, way) == [1, 2, 3]
    assert resume(on_disk, steps=4) == [1, 2, 3, 4]  # what it holds now is what it is known by


def test_data_put_back_resumes(on_disk):
    rows(on_disk, "dog")
    with pytest.raises(ValueError, match="Put back what it was begun with"):
        resume(on_disk)
    rows(on_disk, "cat")
    assert resume(on_disk) == [1, 2, 3]


def test_more_samples_are_refused_and_the_way_out_leads_on(on_disk):
    rows(on_disk, count=9)
    with pytest.raises(ValueError, match=r"its count was 6, now 9"):
        resume(on_disk)
    assert resume(on_disk, "data.allow_change=true") == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["scenes:seed=1"], 'its kind was "Jsonl", now "Scenes"'),
        ([None, None], "there were 1 sources, now 2"),
    ],
)
def test_another_source_is_refused(on_disk, data, message):
    with pytest.raises(ValueError, match=message):
        resume(on_disk, data=[source or str(on_disk / "a.jsonl") for source in data])


def test_a_run_without_fingerprints_resumes_on_its_sources_with_a_line_and_on_no_others(two_steps, on_disk, caplog):
    (on_disk / "run/data.json").unlink()
    with pytest.raises(ValueError, match=r"begun with other settings \(data\.sources: "):
        resume(on_disk)
    train(
        smoke(),
        on_disk / "run",
        data=[str(two_steps / "a.jsonl")],
        resume=True,
        changes=[*SHORT, "steps=3"],
        progress=False,
    )
    assert caplog.messages == [
        f"{on_disk / 'run'} was begun without fingerprints: whether its data is the same can't be checked."
    ]
    assert (on_disk / "run/data.json").is_file()
