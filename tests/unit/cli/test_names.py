"""Names that would steer a terminal, through the real verbs: none of them gets there, and none ends a verb."""

import csv
import json
import logging
import sys
from dataclasses import replace
from io import BytesIO, StringIO, TextIOWrapper
from unicodedata import category

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.cli.main import main
from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.encoder.checkpoint import FAMILIES
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.models.weights import save
from foveal.outside import printable

STEER = "\x1b[2J\r\n\u202egpj\u2028\x07"
MARKUP = "<img src=x onerror=alert(1)>"
HOSTILE = f"{STEER}{MARKUP}.jpg"
FORMULA = "=cmd|' C'!A0.jpg"
PLAIN = "Zürich 北京 👩\u200d🚀.jpg"


def is_harmless(text):
    """Whether nothing in a text steers a terminal but the ends of our own lines and of progress bars."""
    left = {each for each in text if category(each) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    return left <= {"\n", "\r", "\u200d"} and "\x1b" not in text


def content(seed):
    data = BytesIO()
    colors = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(colors).resize((48, 32), Image.Resampling.NEAREST).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of hostile names, whole and broken."""
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate((HOSTILE, FORMULA, PLAIN)):
        (folder / name).write_bytes(content(seed))
    (folder / HOSTILE).with_suffix(".txt").write_text(f"A red cup {MARKUP} on a table \x1b[2J \u202e.\n")
    (folder / FORMULA).with_suffix(".txt").write_text("A blue book on a chair.\n")
    (folder / f"broken{HOSTILE}").write_text("none")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    Encoder(DualEncoder(tiny()).eval(), Tokenizer.clip(), ImageTransform(size=32)).save(folder)
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory, photos, model):
    out = tmp_path_factory.mktemp("index") / "photos.index"
    assert main(["index", str(photos), "--out", str(out), "--model", str(model)]) == 0
    return str(out)


@pytest.fixture
def told(capsys):
    """What a verb prints, with its exit code."""

    def tell(*arguments):
        capsys.readouterr()
        code = main([*map(str, arguments)])
        printed = capsys.readouterr()
        assert is_harmless(printed.out + printed.err)
        return code, printed.out + printed.err

    return tell


def test_hits_are_shown_with_names_that_steer_nothing_and_written_as_no_formula(index, model, told, tmp_path):
    out = tmp_path / "hits.csv"
    code, lines = told("search", index, "a red cup", "--model", model, "--out", out)
    assert code == 0
    assert "\\x1b[2J\\r\\n\\u202egpj" in lines
    assert PLAIN in lines
    rows = csv.DictReader(StringIO(out.read_bytes().decode(), newline=""))
    assert {row["path"] for row in rows} == {HOSTILE, f"./{FORMULA}", PLAIN}
    assert told("similar", index, HOSTILE, "--model", model, "--out", tmp_path / "page.html")[0] == 0
    assert MARKUP not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_terminal_of_ascii_shows_escapes_and_ends_no_verb(index, model, monkeypatch):
    terminal = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["search", index, "Zürich", "--model", str(model)]) == 0
    terminal.flush()
    assert b"Z\\xfcrich \\u5317\\u4eac" in terminal.buffer.getvalue()


def test_a_warning_that_holds_a_hostile_name_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(logging.root, "handlers", [])
    main(["info", "nowhere"])
    capsys.readouterr()
    logging.getLogger("foveal.search").warning("%s is broken: %s", HOSTILE, "none")
    assert capsys.readouterr().err == f"foveal: {printable(HOSTILE)} is broken: none\n"


def test_annotating_shows_names_that_steer_nothing_and_a_page_without_their_markup(photos, tmp_path, told):
    out = tmp_path / f"out{STEER}.jsonl"
    code, lines = told("annotate", photos, "--out", out, "--stages", "negatives")
    assert code == 0
    assert "3 written, 0 dropped, 1 failed" in lines
    memory = out.with_name(f"{out.name}.annotation")
    page = (memory / "report.html").read_text(encoding="utf-8")
    assert MARKUP not in page
    assert is_harmless(page)
    assert {json.loads(line)["id"] for line in out.read_bytes().splitlines()} == {
        HOSTILE,
        FORMULA,
        PLAIN,
    }


def test_a_model_that_calls_itself_something_odd_is_described_line_by_line(tmp_path, told, model):
    save(DualEncoder(tiny()), tmp_path)
    odd = {"source": f"someone{STEER}family  trusted", "licence": f"MIT{STEER}"}
    replace(FAMILIES["long_clip"], **odd).write(tmp_path)
    odd_lines, lines = (told("info", folder)[1] for folder in (tmp_path, model))
    assert odd_lines.count("\n") == lines.count("\n")


@pytest.mark.parametrize("verb", ["info", "train", "annotate", "index", "search"])
def test_a_mistake_that_holds_a_hostile_name_is_still_one_line(verb, told, tmp_path):
    out = [] if verb in ("info", "search") else ["--out", tmp_path / "out"]
    code, line = told(verb, HOSTILE, *out)
    assert (code, line.count("\n")) == (2, 1)
