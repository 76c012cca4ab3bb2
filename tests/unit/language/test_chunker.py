import os
import subprocess
import sys

from foveal.language import chunker
from foveal.language.chunker import chunk


def test_rules_stand_any_text():
    odd = [
        "",
        "   ",
        "...",
        "the",
        "very",
        "very very",
        "“",
        "of of of",
        "123",
        "'s",
        "the the",
        "a very",
        "été 狗 🐕",
        "a" * 9999,
    ]
    for text in odd:
        for one in chunk(text):
            assert text[one.start : one.end] == one.text


def test_phrases_do_not_depend_on_the_order_that_a_set_happens_to_have():
    """Processes hash words differently; a run that goes on in another one must read the same."""
    program = "from foveal.language.chunker import _verbs, chunk;print(sorted(_verbs().items()), chunk('A dog goes.'))"
    command = [sys.executable, "-c", program]
    told = [
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert chunker._verbs()["goes"] == "s"
