"""A mode of search is a score of the encoder, by the same name for Python, the command line, the wire and the page."""

import re
from inspect import signature
from typing import get_args

import pytest

from foveal.cli.search import search
from foveal.encoder.scores import SCORES
from foveal.search import MODES
from foveal.serving import wire
from foveal.serving.app import PAGE


def test_modes_are_the_encoders_scores_that_need_no_patch():
    assert list(MODES) == ["global", "late", "fused", "region"]
    assert all(MODES[name] is SCORES[name] for name in MODES)


def test_the_wire_takes_them():
    assert get_args(wire.Mode) == tuple(MODES)


def test_the_page_offers_them():
    options = re.search(
        r'<select id="mode">(.*?)</select>', (PAGE / "index.html").read_text(encoding="utf-8"), re.DOTALL
    )
    assert set(re.findall(r'value="(\w+)"', options[1])) == set(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_the_command_line_explains_them(mode):
    assert mode in signature(search, eval_str=True).parameters["mode"].annotation.__metadata__[0].help
