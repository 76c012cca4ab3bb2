"""The lower bounds for users and the exact versions that are installed here say nothing that excludes the other."""

import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(line) for line in chain(PROJECT["dependencies"], *EXTRAS.values())]
BOUNDS = {canonicalize_name(one.name): one for one in REQUIREMENTS if one.name != PROJECT["name"]}
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
EXACT = {canonicalize_name(name): version for name, mark, version in (one.partition("==") for one in LINES) if mark}
UNPINNED = {"docs", "trackio", "wandb"}  # extras of which no test, benchmark or figure has need
PINNED = [*PROJECT["dependencies"], *chain.from_iterable(EXTRAS[name] for name in EXTRAS.keys() - UNPINNED)]
PINNED_NAMES = {canonicalize_name(Requirement(line).name) for line in PINNED} - {PROJECT["name"]}
# The first releases without the holes that are known of what reads bytes from outside, or is reached by a network.
SAFE = {
    "h11": "0.16.0",
    "onnx": "1.21.0",
    "pillow": "12.3.0",
    "python-multipart": "0.0.30",
    "ray": "2.56.0",
    "starlette": "1.7.0",
    "torch": "2.10.0",
    "tqdm": "4.66.3",
}


def test_what_tests_and_figures_need_has_an_exact_version():
    assert PINNED_NAMES - EXACT.keys() == set()


@pytest.mark.parametrize("name", sorted(BOUNDS.keys() & EXACT.keys()))
def test_the_exact_version_is_one_that_users_may_have(name):
    assert BOUNDS[name].specifier.contains(EXACT[name])


@pytest.mark.parametrize("name", sorted(SAFE))
def test_no_version_with_a_known_hole_is_allowed(name):
    major, *rest = SAFE[name].split(".")
    before = f"{major}.{rest[0]}.{int(rest[1]) - 1}" if int(rest[1]) else f"{major}.{int(rest[0]) - 1}.9999"
    assert BOUNDS[name].specifier.contains(SAFE[name])
    assert not BOUNDS[name].specifier.contains(before)
