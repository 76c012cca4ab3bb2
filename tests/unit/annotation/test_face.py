"""The public names of the data engine, and the page that teaches them."""

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

from foveal import annotation

PAGE = Path(__file__).parents[3] / "docs" / "annotation.md"


def test_every_public_name_leads_to_what_bears_it():
    assert annotation.__all__ == sorted(annotation.__all__)
    assert set(annotation.__all__) == set(annotation._HOMES)
    for name in annotation.__all__:
        assert getattr(annotation, name).__name__ == name


def test_the_face_alone_loads_no_torch():
    code = "import foveal.annotation, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_examples_of_the_page_run_one_after_another(tmp_path, monkeypatch, capsys):
    (tmp_path / "photos").mkdir()
    for name, caption in {"cat": "A black cat on a red sofa.", "page": "A screenshot of a page."}.items():
        Image.effect_noise((16, 16), 50).save(tmp_path / "photos" / f"{name}.png")
        (tmp_path / "photos" / f"{name}.txt").write_text(caption)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for example in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(example, str(PAGE), "exec", dont_inherit=True), names)
    printed = capsys.readouterr().out
    assert "A small black cat | A large black cat" in printed
    assert "2 samples: 2 written, 0 dropped, 0 failed." in printed
    assert "2 samples: 1 written, 1 dropped, 0 failed." in printed
