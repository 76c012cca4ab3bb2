"""Configuration: dataclasses as JSON and as words on a command line, and back."""

import dataclasses
import inspect
import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .outside import shown

T = TypeVar("T")


def override(value: T, assignments: list[str]) -> T:
    """Return a copy of a dataclass tree with "path.to.field=value" applied, each value read by the field's type.

    Raises:
        ValueError: If there is no such field (the message lists those there are) or the value does not fit.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"'{assignment}' sets nothing. Write path.to.field=value.")
        try:
            value = _set(value, path.split("."), text)
        except _UnreadableError as error:
            raise ValueError(f"{path}={text}: expected {error}.") from None
    return value


def describe(value: Any) -> Any:
    """Return a value as JSON has it. A dataclass becomes a dictionary that begins with its type."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return {"type": type(value).__name__} | {name: describe(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): describe(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [describe(member) for member in value]
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, Path):
        return str(value)
    return value.__qualname__ if inspect.isroutine(value) else type(value).__name__


def with_new_fields(old: Any, value: Any) -> Any:
    """Return an older description of a dataclass, with the defaults of fields that it did not have yet."""
    if not (isinstance(old, dict) and dataclasses.is_dataclass(value)):
        return old
    described = dict(old)
    for field in dataclasses.fields(value):
        if field.name in old:
            described[field.name] = with_new_fields(old[field.name], getattr(value, field.name))
        elif field.default is not dataclasses.MISSING:
            described[field.name] = describe(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            described[field.name] = describe(field.default_factory())
    return described


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return where two descriptions differ, as "path: old, now new"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        below = (differences(old.get(key), new.get(key), f"{path}.{key}".strip(".")) for key in keys)
        return [difference for members in below for difference in members]
    return [] if old == new else [f"{path}: {json.dumps(old)}, now {json.dumps(new)}"]


def parse(kind: Any, value: Any, where: str) -> Any:
    """Return a value of JSON as a value of this type: numbers, strings, tuples, choices, dataclasses.

    Args:
        kind: The type. Dataclasses are read strictly: every field must be known, and those without default be there.
        value: As `json` gives it.
        where: What errors call it.

    Raises:
        ValueError: If the value is not of this type. The message names the field.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        return None if value is None else parse(arguments[0], value, where)
    if origin is Literal and type(value) is str and value in arguments:
        return value
    if origin is tuple and isinstance(value, list) and (... in arguments or len(value) == len(arguments)):
        return tuple(parse(arguments[0], member, f"{where}[{index}]") for index, member in enumerate(value))
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _parse_fields(kind, value, where)
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:  # neither NaN nor infinity
        return float(value)
    if kind is not float and origin is None and type(value) is kind:
        return value
    expected = f"one of {', '.join(arguments)}" if origin is Literal else getattr(kind, "__name__", str(kind))
    expected = str(kind) if origin is tuple else expected
    raise ValueError(f"{where} is {shown(value)}. It must be {expected}.")


def _parse_fields(kind: Any, values: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    unknown = values.keys() - hints.keys()
    if unknown:
        raise ValueError(f"{where} has no field {shown(min(unknown))}. It has: {', '.join(sorted(hints))}.")
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING and field.name not in values:
            raise ValueError(f"{where} lacks the field '{field.name}'. Add it.")
    return kind(**{name: parse(hints[name], value, f"{where}: {name}") for name, value in values.items()})


class _UnreadableError(Exception):
    """A text does not fit a type. The message says what would."""


def _set(node: Any, path: list[str], text: str) -> Any:
    head, *rest = path
    if not dataclasses.is_dataclass(node):
        raise ValueError(f"{type(node).__name__} has no fields, so no '{head}'.")
    names = [f.name for f in dataclasses.fields(node)]
    if head not in names:
        raise ValueError(f"{type(node).__name__} has no '{head}'. It has: {', '.join(names)}.")
    if rest:
        new = _set(getattr(node, head), rest, text)
    else:
        new = _read(text, get_type_hints(type(node))[head], getattr(node, head))
    return dataclasses.replace(cast(Any, node), **{head: new})


def _read(text: str, hint: Any, old: Any = None) -> Any:
    """Read a text as a value of a type."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(text, get_args(hint), old)
    if origin is Literal:
        return _choose(text, {str(choice): choice for choice in get_args(hint)})
    if origin is tuple:
        return _read_tuple(text, get_args(hint))
    if hint is bool:
        return _choose(text, {"true": True, "false": False})
    if hint in (int, float, str, Path):
        try:
            return hint(text)
        except ValueError:
            raise _UnreadableError({int: "a whole number", float: "a number"}[hint]) from None
    if dataclasses.is_dataclass(old):
        fields = ", ".join(f.name for f in dataclasses.fields(old))
        raise _UnreadableError(f"one of its own fields to be set: {fields}")
    raise _UnreadableError("nothing: this can't be written as text. Set it in a recipe")


def _choose(text: str, choices: dict[str, Any]) -> Any:
    if text.lower() not in choices and text not in choices:
        raise _UnreadableError(f"one of {', '.join(choices)}")
    return choices[text] if text in choices else choices[text.lower()]


def _read_union(text: str, hints: tuple[Any, ...], old: Any) -> Any:
    if type(None) in hints and text.lower() in ("none", "null"):
        return None
    problems = []
    for hint in hints:
        if hint is not type(None):
            try:
                return _read(text, hint, old)
            except _UnreadableError as error:
                problems.append(str(error))
    raise _UnreadableError(" or ".join(problems + ["none"] * (type(None) in hints)))


def _read_tuple(text: str, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    """Read a tuple from JSON ("[0.9, 0.98]") or from plain words ("0.9,0.98")."""
    try:
        members = json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(",") if part]
    except json.JSONDecodeError:
        raise _UnreadableError("a list such as [1, 2]") from None
    if len(hints) == 2 and hints[1] is ...:
        hints = hints[:1] * len(members)
    if len(hints) != len(members):
        raise _UnreadableError(f"{len(hints)} values, not {len(members)}")
    texts = [member if isinstance(member, str) else json.dumps(member) for member in members]
    return tuple(_read(member, hint) for member, hint in zip(texts, hints, strict=True))
