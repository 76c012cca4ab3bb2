import json
import shutil

import pytest
import torch

from foveal.models.frozen import REFERENCE, FrozenWeights, read, reference

TENSORS = {"module.tower": torch.arange(6.0).reshape(2, 3), "table": torch.ones(2)}


@pytest.fixture
def place(tmp_path):
    """A checkpoint that refers to frozen weights beside it."""
    place = tmp_path / "run/checkpoints/step-000001"
    place.mkdir(parents=True)
    FrozenWeights.store(TENSORS, tmp_path / "run/frozen").refer(place, place)
    return place


def test_what_is_stored_is_read_under_its_own_names(place):
    assert read(place).keys() == TENSORS.keys()
    assert all(read(place)[name].equal(tensor) for name, tensor in TENSORS.items())
    assert [path.name for path in (place / "../../frozen").iterdir()] == ["frozen.safetensors"]


def test_the_reference_is_small_and_survives_a_move_of_the_run(place, tmp_path):
    assert json.loads((place / REFERENCE).read_text())["folder"] == "../../frozen"
    shutil.move(tmp_path / "run", tmp_path / "moved")
    assert len(read(tmp_path / "moved/checkpoints/step-000001")) == 2


def test_a_folder_without_a_reference_needs_nothing(tmp_path):
    assert reference(tmp_path) is None
    assert read(tmp_path) == {}


def test_a_checkpoint_copied_alone_says_what_is_missing_and_the_way_out_works(place, tmp_path):
    alone = shutil.copytree(place, tmp_path / "elsewhere/checkpoints/step-000001")
    with pytest.raises(ValueError, match=r"lacks its frozen weights: .*frozen\.safetensors is missing") as caught:
        read(alone)
    assert "\n" not in str(caught.value)
    folder = str(caught.value).rpartition(" to ")[2].removesuffix(".")
    shutil.copytree(tmp_path / "run/frozen", folder)
    assert len(read(alone)) == 2


def test_other_weights_in_their_place_are_refused(place, tmp_path):
    FrozenWeights.store({"table": torch.zeros(2)}, tmp_path / "run/frozen")
    with pytest.raises(ValueError, match=r"was trained on other frozen weights than those of .* Copy the run's"):
        read(place)


def test_a_damaged_reference_is_named(place):
    (place / REFERENCE).write_text('{"folder": 3}')
    with pytest.raises(ValueError, match=r"frozen\.json is damaged: it must say 'folder' and 'sha256'"):
        read(place)
