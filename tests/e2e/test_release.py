"""What is released: sdist and wheel, built, installed into a clean environment, and used from there."""

import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import foveal

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/foveal"


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The sdist, and the wheel built from what it holds."""
    pytest.importorskip("hatchling", reason="needs hatchling, which builds")
    folder = tmp_path_factory.mktemp("dist")
    build = "import sys; from hatchling import build; print(getattr(build, sys.argv[1])(sys.argv[2]))"
    sdist = folder / run(sys.executable, "-c", build, "build_sdist", folder, cwd=ROOT).split()[-1]
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    sources = folder / sdist.name.removesuffix(".tar.gz")
    wheel = folder / run(sys.executable, "-c", build, "build_wheel", folder, cwd=sources).split()[-1]
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """A clean environment with the wheel, beside the dependencies that are here already."""
    home = tmp_path_factory.mktemp("clean") / "env"
    run(sys.executable, "-m", "venv", home)
    python = home / "bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", dist[1])
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


@pytest.mark.slow
def test_every_file_of_the_package_is_installed(installed):
    (package,) = installed.glob("lib/python*/site-packages/foveal")
    tracked = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file()}
    tracked = {path for path in tracked if "__pycache__" not in path.parts}
    assert {path for path in tracked if not (package / path).is_file()} == set()
    assert len({path.suffix for path in tracked}) > 8  # data files, too


@pytest.mark.slow
def test_the_installed_command_works_far_from_the_sources(installed, tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    command = installed / "bin/foveal"
    assert run(command, "--version", cwd=tmp_path, env=environment) == f"foveal {foveal.__version__}\n"
    run(command, "scenes", "--out", "scenes", "--count", "4", "--size", "32", cwd=tmp_path, env=environment)
    train = ["train", "clip:smoke", "--data", "scenes", "--out", "run", "--set", "steps=1", "--set", "batch_size=2"]
    run(command, *train, cwd=tmp_path, env=environment)
    assert "clip" in run(command, "info", "run", cwd=tmp_path, env=environment)
    where = "import foveal; print(foveal.__file__)"
    assert str(installed) in run(installed / "bin/python", "-c", where, cwd=tmp_path, env=environment)


def test_extras_resolve_by_name_and_to_the_versions_that_are_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pinned = {canonicalize_name(name): release for name, release in pinned.items()}
    extras = {name: [*map(Requirement, lines)] for name, lines in project["optional-dependencies"].items()}
    own = [requirement for requirement in chain(*extras.values()) if requirement.name == "foveal"]
    assert set().union(*(requirement.extras for requirement in own)) <= set(extras)
    tested = {"dev"}.union(*(requirement.extras for requirement in extras["dev"]))
    for requirement in [*map(Requirement, project["dependencies"]), *chain(*(extras[name] for name in tested))]:
        if requirement.name != "foveal":
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)], prereleases=True)


def test_citation_and_package_have_one_version():
    (cited,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == foveal.__version__


def test_every_python_that_is_promised_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = {line.split(" :: ")[-1] for line in project["classifiers"] if "Python :: 3" in line}
    assert promised == set(
        re.findall(r'"(3\.\d+)"', re.search(r"python=\[.*?\]", (ROOT / "noxfile.py").read_text())[0])
    )
