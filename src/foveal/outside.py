"""Input from outside: JSON of bounded size and depth, and names and values escaped for a terminal."""

import json
from pathlib import Path
from reprlib import Repr
from typing import Any
from unicodedata import category

LARGEST_JSON = 8 << 20  # bytes; the largest that models are published with, Gemma's tokenizer_config.json, has 1.2 MB
DEEPEST_JSON = 64  # levels of nesting
_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what shows nothing and steers what is shown: control and format characters (among these the
ones that turn the direction of writing), halves of surrogate pairs, separators of lines and paragraphs."""
_JOINERS = "\u200c\u200d"  # format characters that stay: they shape letters and emoji

_short = Repr()
_short.maxstring = _short.maxother = _short.maxlong = 100


def read_json(path: Path) -> Any:
    """Return the value that a JSON file from outside holds.

    Raises:
        ValueError: If the file is not there, is no JSON, or is larger or nested more deeply than any that is published.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    with path.open("rb") as file:
        content = file.read(LARGEST_JSON + 1)
    if len(content) > LARGEST_JSON:
        raise ValueError(f"{path} has more than {LARGEST_JSON:,} bytes, the most of such a file. Copy it again.")
    try:
        value = json.loads(content.decode())
    except RecursionError as error:
        raise ValueError(_too_deep(path)) from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}). Copy it again.") from error
    if is_deeper(value, DEEPEST_JSON):
        raise ValueError(_too_deep(path))
    return value


def read_object(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file from outside holds.

    Raises:
        ValueError: As `read_json`, and if it holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {type(value).__name__}, not an object. Copy it again.")  # noqa: TRY004
    return value


def shown(value: Any) -> str:
    """Return a value from outside as a message shows it: escaped, in one line, at most about a hundred characters."""
    return _short.repr(value)


def printable(text: str, keep: str = "") -> str:
    r"""Return a text in which a terminal finds nothing to act on.

    Args:
        text: Anything: the name of a file, a caption, what a server says.
        keep: Characters that stay all the same; "\n" where lines are our own.

    Returns:
        The text with an escape such as \x1b for every character that steers. Letters of all scripts and emoji stay,
        and so does a text that was escaped before.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character in keep or character in _JOINERS or category(character) not in _STEERING
        else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _too_deep(path: Path) -> str:
    return f"{path} is nested more than {DEEPEST_JSON} levels deep. Copy it again."


def is_deeper(value: Any, levels: int) -> bool:
    """True if lists and objects nest deeper than so many levels. Works level by level, so it ends."""
    level = [value]
    for _ in range(levels + 1):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return False
    return True


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
