"""The packages whose public names are imported from the package, and the page that teaches them."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/python.md"
FACES = ["foveal.data", "foveal.models", "foveal.training"]


@pytest.mark.parametrize("name", FACES)
class TestEveryFace:
    def test_its_names_lead_to_what_bears_them(self, name):
        package = import_module(name)
        assert package.__all__ == sorted(package.__all__)
        assert set(package.__all__) == set(package._HOMES)
        assert [word for word in package.__all__ if getattr(package, word).__name__ != word] == []

    def test_no_name_hides_a_module(self, name):
        package = import_module(name)
        modules = {path.stem for path in Path(package.__file__).parent.iterdir()}
        assert modules & set(package.__all__) == set()

    def test_the_page_names_each(self, name):
        words = set(re.findall(r"\w+", PAGE.read_text(encoding="utf-8")))
        assert set(import_module(name).__all__) - words == set()


def test_the_faces_alone_load_no_torch():
    code = f"import sys, {', '.join(FACES)}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_examples_of_the_page_run_one_after_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for example in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(example, str(PAGE), "exec", dont_inherit=True), names)
    printed = capsys.readouterr().out
    assert "24 " in printed
    assert "(8, 3, 32, 32) ['caption', 'negative', 'phrase']" in printed
    assert printed.endswith("torch.Size([1, 1])\n")
