"""What comes from outside: JSON files of bounded size and depth, and how messages show their values."""

import json
from pathlib import Path
from reprlib import Repr
from typing import Any

LARGEST_JSON = 8 << 20  # bytes; the largest that models are published with, Gemma's tokenizer_config.json, has 1.2 MB
_DEEPEST_JSON = 64

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
    if _is_deeper(value, _DEEPEST_JSON):
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


def _too_deep(path: Path) -> str:
    return f"{path} is nested more than {_DEEPEST_JSON} levels deep. Copy it again."


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie in one another more than so many levels deep. Works level by level, so it ends."""
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
