"""Tests on every Python that torch has builds for: `nox`, or `nox -s tests-3.13`. Those not installed are left out."""

import nox

nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run the fast tests with the versions of constraints.txt."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.run("pytest", "--numprocesses", "auto", "-m", "not slow and not gpu", *session.posargs)


@nox.session(python="3.11")
def release(session: nox.Session) -> None:
    """Build sdist and wheel, and test what they install."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.install("hatchling")
    session.run("pytest", "tests/e2e/test_release.py")
