import hashlib
import json
import resource
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.models.weights import load
from foveal.training import checkpoint

FILES = ("model.safetensors", "config.json", "training.safetensors", "training.json", "protocol.json", "hashes.json")

STATE = {
    "step": 3,
    "tree": [1, 2.5, None, True, "x", (1, (2, b"\x00\xff"))],
    "keys": {1: "one", "two": {"deep": torch.arange(4)}},
    "tiny": 0.1 + 0.2,
    "empty": {},
}
MODEL = DualEncoder(tiny())


def save(folder, step, state=STATE, **more):
    return checkpoint.save(folder, step, MODEL.config, MODEL.state_dict(), state, **more)


def test_what_is_saved_is_loaded_as_it_was(tmp_path):
    place = save(tmp_path, 3)
    weights, state = checkpoint.load(place)
    torch.testing.assert_close(weights, dict(MODEL.state_dict()), rtol=0, atol=0)
    assert torch.equal(state["keys"]["two"].pop("deep"), torch.arange(4))
    expected = STATE | {"keys": {1: "one", "two": {}}}
    assert state == expected
    assert load(place).config == MODEL.config


def test_tensors_that_share_memory_are_saved(tmp_path):
    shared = torch.arange(3)
    state = checkpoint.load(save(tmp_path, 1, {"a": shared, "b": shared}))[1]
    assert torch.equal(state["a"], shared)
    assert torch.equal(state["b"], shared)


def test_what_json_and_safetensors_can_not_hold_is_refused_by_name(tmp_path):
    with pytest.raises(TypeError, match=r"can't hold the object at /stream/rng"):
        save(tmp_path, 1, {"stream": {"rng": object()}})


def test_the_latest_is_the_one_of_most_steps_and_old_ones_go(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    for step in (5, 999_999, 1_000_000):
        save(tmp_path, step, keep=2)
    assert checkpoint.latest(tmp_path).name == "step-1000000"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-1000000", "step-999999"]


def test_half_written_folders_are_ignored_and_cleaned(tmp_path):
    save(tmp_path, 3)
    half = tmp_path / "step-000006.unfinished"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert checkpoint.latest(tmp_path).name == "step-000003"
    save(tmp_path, 4)
    assert not half.exists()


def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(tmp_path):
    """A limit on the size of files stands in for a full disk: the same calls fail the same way."""
    save(tmp_path, 3)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"can't be written.*step-000003 is whole") as caught:
            save(tmp_path, 6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000003"]
    assert checkpoint.load(tmp_path / "step-000003")[1]["step"] == 3


def test_a_result_that_can_not_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(ValueError, match=r"The model can't be written to .*taken"):
        checkpoint.save_model(MODEL.config, MODEL, tmp_path / "taken")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two checkpoints of a training, with a protocol as a folder of results has it."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "protocol.json").write_text("{}")
    small = replace(tiny(), text=replace(tiny().text, vocabulary=40, eos_id=39))
    for step in (4, 8):
        state = {"step": step, "moment": torch.rand(9)}
        checkpoint.save(folder / "checkpoints", step, small, DualEncoder(small).state_dict(), state)
    return folder


@pytest.fixture
def beside(written, tmp_path):
    return shutil.copytree(written / "checkpoints", tmp_path / "checkpoints")


def unhashed(place):
    """A checkpoint as it was written before there were hashes."""
    (place / "hashes.json").unlink()
    tree = json.loads((place / "training.json").read_text())
    (place / "training.json").write_text(json.dumps(tree["state"]))
    return place


DAMAGE = {
    "a flipped bit": lambda file: file.write_bytes(flipped(file.read_bytes())),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "zeros behind it": lambda file: file.write_bytes(file.read_bytes() + bytes(512)),
    "zeros in it": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "missing": lambda file: file.unlink(),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_hashes_are_those_that_sha256_gives(tmp_path):
    place = save(tmp_path, 3)
    files = json.loads((place / "hashes.json").read_text())["files"]
    assert set(files) == {path.name for path in place.iterdir()} - {"hashes.json"}
    for name, written in files.items():
        content = (place / name).read_bytes()
        assert written == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_whole_checkpoint_passes_without_a_word(beside, caplog):
    assert checkpoint.last_whole(beside).name == "step-000008"
    assert checkpoint.last_whole(beside.parent) is None
    assert caplog.messages == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", DAMAGE)
def test_whatever_happens_to_whichever_file_is_named_in_one_line_with_the_way_out(beside, what, name):
    DAMAGE[what](beside / "step-000008" / name)
    with pytest.raises(ValueError, match=rf"^Checkpoint .*step-000008 is damaged: {name} ") as caught:
        checkpoint.last_whole(beside)
    message = str(caught.value)
    assert "\n" not in message
    assert f"step-000004 beside it is whole: to go on from there, rm -r {beside / 'step-000008'}, then --re" in message


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "training.json", "hashes.json"])
def test_a_file_of_another_step_is_noticed(beside, name):
    shutil.copy(beside / "step-000004" / name, beside / "step-000008" / name)
    with pytest.raises(ValueError, match=r"step-000008 is damaged: .* is not what was written"):
        checkpoint.last_whole(beside)


def test_damaged_ones_before_it_are_removed_with_it_and_none_whole_is_said(beside):
    DAMAGE["cut off"](beside / "step-000008/model.safetensors")
    save(beside, 12, keep=3)
    DAMAGE["missing"](beside / "step-000012/training.json")
    gone = f"rm -r {beside / 'step-000012'} {beside / 'step-000008'}"
    with pytest.raises(ValueError, match=rf"step-000012 is damaged: .*step-000004 .* is whole: .*{gone}, then"):
        checkpoint.last_whole(beside)
    DAMAGE["missing"](beside / "step-000004/training.json")
    with pytest.raises(ValueError, match=r"No older one is whole: start again in another folder\.$"):
        checkpoint.last_whole(beside)


def test_a_checkpoint_without_hashes_opens_and_it_is_said_that_it_can_not_be_checked(beside, caplog):
    place = unhashed(beside / "step-000008")
    assert checkpoint.last_whole(beside) == place
    assert checkpoint.load(place)[1]["step"] == 8
    assert [message.partition(":")[0] for message in caplog.messages] == [f"{place} was written without hashes"]


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "training.json"])
@pytest.mark.parametrize("what", ["cut off", "empty", "zeros in it", "missing", "a folder"])
def test_a_checkpoint_without_hashes_that_can_not_be_read_is_named_all_the_same(beside, what, name):
    DAMAGE[what](unhashed(beside / "step-000008") / name)
    with pytest.raises(ValueError, match=rf"step-000008 is damaged: {name} .*step-000004 beside it is whole") as caught:
        checkpoint.last_whole(beside)
    assert "\n" not in str(caught.value)


def test_weights_may_be_read_by_whom_the_config_may_be_read(tmp_path):
    place = save(tmp_path, 3)
    assert (place / "model.safetensors").stat().st_mode == (place / "config.json").stat().st_mode
