from pathlib import Path

import pytest

from foveal.evaluation.pinned.pages import page, write
from foveal.evaluation.pinned.registry import registry

DOCS = Path(__file__).parents[4] / "docs/protocols"


def test_pages_are_those_of_the_registry(tmp_path):
    files = write(tmp_path)
    assert {file.name for file in files} == {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    for file in files:
        said = "Run python -m foveal.evaluation.pinned.pages docs/protocols."
        assert file.read_text(encoding="utf-8") == (DOCS / file.name).read_text(encoding="utf-8"), said


@pytest.mark.parametrize("name", ["urban1k@1000", "dci@extra7602", "imagenet-a@200"])
def test_a_page_says_what_a_stranger_needs(name):
    pinned = registry()[name]
    text = page(pinned.family)
    for said in (f"## {name}", pinned.title, pinned.get[0], pinned.licence, "Rules, version 1", "Published:"):
        assert said in text
