"""Shared fixtures: seeds, one thread, the folder of real photos."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # on two cores, many threads make tiny tests slower, not faster
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos and benchmark files; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real data not present at {SHARED}")
    return SHARED
