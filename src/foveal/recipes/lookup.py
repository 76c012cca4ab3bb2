"""Recipes by their name on the command line."""

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin

from ..models.config import ModelConfig
from ..training.run import Run

Recipe = Callable[[], Run[Any]]
NO_RECIPES = ("__init__", "lookup", "scale")


def names() -> list[str]:
    """List the recipes of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NO_RECIPES)


def encoder_names() -> list[str]:
    """List those of them that train a dual encoder, and so can be compared with each other."""
    return [name for name in names() if isinstance(find(f"{name}:demo")().model, ModelConfig)]


def find(name: str) -> Recipe:
    """Find the recipe of a name.

    Args:
        name: "clip" (one of this folder, its main function), "fg_clip:stage2", or "my.module:mine" for one's own.

    Raises:
        ValueError: If there is none. The message lists those there are.
    """
    module_name, colon, function = name.partition(":")
    is_ours = module_name in names()
    if not is_ours and not colon:
        raise ValueError(
            f"There is no recipe '{name}'. There are: {', '.join(names())}; or your own as module:function."
        )
    try:
        module = import_module(f"{__package__}.{module_name}" if is_ours else module_name)
    except ModuleNotFoundError as error:
        raise ValueError(f"Recipe '{name}': {error}. Ours are: {', '.join(names())}.") from error
    recipes = recipes_of(module)
    recipe = function or module_name
    if recipe not in recipes:
        available = ", ".join(recipes) or "none; a recipe is a function without arguments that says '-> Run'"
        raise ValueError(f"'{module_name}' has no recipe '{recipe}'. It has: {available}.")
    return recipes[recipe]


def _is_run(annotation: Any) -> bool:
    """True for `Run`, and for `Run[Probe]` of a model of one's own, also where annotations are strings."""
    return (get_origin(annotation) or annotation) is Run or str(annotation).partition("[")[0] == "Run"


def recipes_of(module: object) -> dict[str, Recipe]:
    """Return the functions without arguments that a module defines and that return a run."""
    functions = inspect.getmembers(module, inspect.isfunction)
    return {
        name: function
        for name, function in functions
        if not name.startswith("_")
        and _is_run(function.__annotations__.get("return"))
        and function.__module__ == getattr(module, "__name__", None)
        and not inspect.signature(function).parameters
    }
