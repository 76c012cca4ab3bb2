from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.outside import printable


@pytest.mark.parametrize(
    "name",
    [
        "photo 1.jpg",
        "schöne Ferien/Zürich.jpg",
        "北京.png",
        "👩\u200d🚀 ❤️.webp",
        "می\u200cخواهم",
        "C:\\new\\x1b",
        "a\u00a0b",
    ],
)
def test_letters_of_all_scripts_emoji_and_backslashes_stay(name):
    assert printable(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[2J\x07.jpg", "\\x1b[2J\\x07.jpg"),
        ("a\r\nfoveal: all is well", "a\\r\\nfoveal: all is well"),
        ("\x9b31m", "\\x9b31m"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\u2066x\u2069\u200b\ufeff", "\\u2066x\\u2069\\u200b\\ufeff"),
        ("a\u2028b\x00", "a\\u2028b\\x00"),
        ("r\udce9.jpg", "r\\udce9.jpg"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_steers_a_terminal_is_written_as_its_escape(name, shown):
    assert printable(name) == shown


def test_lines_of_our_own_stay_where_asked_for():
    assert printable("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_steers_is_left_and_a_second_time_changes_nothing(text):
    shown = printable(text)
    assert not {each for each in shown if category(each) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} - {"\u200c", "\u200d"}
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
