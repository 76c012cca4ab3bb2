"""The tiny training that the tests of this folder share."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """All names of `worker.py`, which also runs as a script in a process of its own."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("worker.py"))))
