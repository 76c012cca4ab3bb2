"""Learned parts in a config on disk: by the import path of their class, from modules that the caller allows."""

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from importlib import import_module
from typing import Any, cast

from ..configuration import parse
from ..outside import shown
from .config import Part

TRUSTED_MODULES = ("foveal",)
"""Modules whose parts are opened where the caller names none: no code from elsewhere is run."""


def part_rows(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Return parts as JSON has them: the import path of each one's class, and its fields."""
    return [{"type": f"{type(part).__module__}:{type(part).__qualname__}", **asdict(cast(Any, part))} for part in parts]


def read_parts(rows: Any, where: str, modules: Sequence[str] = TRUSTED_MODULES) -> tuple[Part, ...]:
    """Return the parts that a config names.

    Args:
        rows: As `part_rows` gives them.
        where: What errors call the config.
        modules: Packages and modules whose classes may be opened, with all below them.

    Raises:
        ValueError: If a part is of another module, there is no such class, or its fields are not the class's.
    """
    if not (isinstance(rows, list) and all(isinstance(row, dict) and type(row.get("type")) is str for row in rows)):
        raise ValueError(f"{where}: parts is {shown(rows)}. It must be a list of objects with 'type' and fields.")
    return tuple(_part(dict(row), f"{where}: parts[{index}]", modules) for index, row in enumerate(rows))


def _part(fields: dict[str, Any], where: str, modules: Sequence[str]) -> Part:
    path = fields.pop("type")
    module, _, name = path.partition(":")
    if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in modules):
        raise ValueError(
            f"{where} is made by {shown(path)}, code that is not foveal's. If you trust it, allow it:"
            f" foveal.load(..., parts_from=({module.partition('.')[0]!r},))."
        )
    subject = f"{where} is made by {shown(path)}, which"
    try:
        kind = getattr(import_module(module), name, None)
    except ImportError as error:
        raise ValueError(f"{subject} cannot be imported ({error}). Install it.") from error
    if not (isinstance(kind, type) and is_dataclass(kind) and hasattr(kind, "build") and hasattr(kind, "name")):
        raise ValueError(f"{subject} is no learned part. Take the version that wrote it.")
    return cast(Part, parse(kind, fields, where))
