"""Write the reference pages of the documentation from signatures, docstrings and the command line itself.

    python tools/write_reference.py docs/reference

`make docs` runs it before the site is built. The pages are not kept: what they say stands in the code.
"""

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from foveal.cli.main import app
from foveal.recipes.lookup import find, names, recipes_of

PACKAGES = ("foveal", "foveal.data", "foveal.models", "foveal.training", "foveal.annotation", "foveal.losses")


def cli() -> str:
    """Return the page of all verbs: what each does, its arguments and options."""
    command: Any = typer.main.get_command(app)
    parts = ["# Command line", "", "The same is printed by `foveal VERB --help`."]
    for name, verb in command.commands.items():
        parts += ["", f"## foveal {name}", "", inspect.cleandoc(verb.help), "", "| | | default |", "|---|---|---|"]
        for parameter in verb.params:
            if not getattr(parameter, "hidden", False):
                spelling = parameter.metavar or parameter.name.upper()
                words = ", ".join(parameter.opts) if parameter.param_type_name == "option" else spelling
                default = "" if parameter.default in (None, False, ()) else f"`{parameter.default}`"
                parts.append(f"| `{words}` | {_cell(getattr(parameter, 'help', '') or '')} | {_cell(default)} |")
    return "\n".join(parts) + "\n"


def api() -> str:
    """Return the page of all public names, by package."""
    parts = ["# Python"]
    for package in PACKAGES:
        module = import_module(package)
        parts += ["", f"## {package}", "", inspect.getdoc(module) or ""]
        for name in module.__all__:
            parts += ["", f"### {package}.{name}", "", *_entry(name, getattr(module, name))]
    return "\n".join(parts) + "\n"


def recipes() -> str:
    """Return the page of all recipes: what each is, and how it is run."""
    parts = ["# Recipes"]
    for name in names():
        module = import_module(f"foveal.recipes.{name}")
        parts += ["", f"## {name}", "", "```text", inspect.cleandoc(module.__doc__ or ""), "```", ""]
        parts += [f"- `{name}:{run}`: {_first(find(f'{name}:{run}'))}" for run in recipes_of(module)]
    return "\n".join(parts) + "\n"


def settings() -> str:
    """Return the page of all that `foveal train --set` changes, with the values of one recipe."""
    run = find("fg_clip:stage2")()
    rows = [f"| `{path}` | `{_cell(repr(value))}` |" for path, value in _fields(run)]
    head = ["# Settings", "", "What `foveal train --set FIELD=VALUE` changes, with the values of `fg_clip:stage2`.", ""]
    return "\n".join([*head, "| field | value |", "|---|---|", *rows]) + "\n"


def _entry(name: str, value: Any) -> Iterator[str]:
    try:
        signature = f"{name}{inspect.signature(value)}"
    except (TypeError, ValueError):
        signature = name
    yield from ("```text", f"{signature}", "", inspect.getdoc(value) or "", "```")


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(value):
        member = getattr(value, field.name)
        if dataclasses.is_dataclass(member):
            yield from _fields(member, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}", member


def _first(value: Any) -> str:
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def write(folder: Path) -> None:
    """Write every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in (cli, api, recipes, settings):
        (folder / f"{page.__name__}.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
