"""JSON that someone else wrote: what cannot be read, kept and written again is refused in a few words."""

import json
import math
from typing import Any

from ...outside import DEEPEST_JSON, is_deeper


class Unkeepable(ValueError):  # noqa: N818  # what a value is
    """Right by its grammar and of no use: nested too deep, half a character, a number that is none."""


def parse(text: str) -> Any:
    """Return the JSON value that a text is.

    Raises:
        ValueError: If it is none. The message says why in a few words.
        Unkeepable: If it is nested too deep.
    """
    text = text.strip(" \t\r\n")
    value, end = _value(text, 0)
    if end != len(text):
        raise ValueError("its JSON is followed by something else")
    return value


def first_object(text: str) -> Any:
    """Return the first JSON object in a text that may have words or a fence around it.

    Raises:
        ValueError: If it holds none. The message says why in a few words.
        Unkeepable: If it is nested too deep, or holds half of a surrogate pair or a number that is not finite.
    """
    start = text.find("{")
    if start < 0:
        raise ValueError("it holds no JSON object")
    value, _ = _value(text, start)
    _check_leaves(value)
    return value


def check_text(text: str) -> None:
    """Refuse a text that UTF-8 cannot hold.

    Raises:
        Unkeepable: If it holds half of a surrogate pair.
    """
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unkeepable("it holds half of a surrogate pair, which is no character") from error


def _value(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at a place, and where it ends."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise ValueError(f"its JSON is broken: {error.msg}") from error
    except RecursionError as error:
        raise Unkeepable("its JSON is nested too deep") from error
    if is_deeper(value, DEEPEST_JSON):
        raise Unkeepable("its JSON is nested too deep")
    return value, end


def _check_leaves(value: Any) -> None:
    """Refuse what cannot be written as UTF-8 JSON and read again anywhere."""
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            check_text(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise Unkeepable(f"its JSON holds {value}, which is no number")
        elif isinstance(value, dict):
            rest += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            rest += value
