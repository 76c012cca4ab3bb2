"""Shared fixtures: seeds, one thread, shape checks off, a few scenes, the folder of real photos."""

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

torch.set_num_threads(1)  # on two cores, many threads make tiny tests slower, not faster
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Shape checks off, as for a user, so that our own refusal is seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def scene_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two shards of twelve scenes of 32 pixels: made once, as type checks make that slow."""
    from foveal.data.formats import WebDataset
    from foveal.data.scenes import Scenes

    folder = tmp_path_factory.mktemp("scenes") / "shards"
    WebDataset(folder, samples_per_shard=6).write(Scenes(count=12, size=32))
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos and benchmark files; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real data not present at {SHARED}")
    return SHARED
