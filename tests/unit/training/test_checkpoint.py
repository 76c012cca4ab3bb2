import resource
import signal

import pytest
import torch

from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.models.weights import load
from foveal.training import checkpoint

STATE = {
    "step": 3,
    "tree": [1, 2.5, None, True, "x", (1, (2, b"\x00\xff"))],
    "keys": {1: "one", "two": {"deep": torch.arange(4)}},
    "tiny": 0.1 + 0.2,
    "empty": {},
}
MODEL = DualEncoder(tiny())


def save(folder, step, state=STATE, **more):
    return checkpoint.save(folder, step, MODEL, state, **more)


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
        checkpoint.save_model(MODEL, tmp_path / "taken")
