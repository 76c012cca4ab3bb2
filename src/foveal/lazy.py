"""Public names of a package, imported when they are first asked for."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose names lie in modules below it.

    Args:
        package: Its `__name__`.
        homes: Of each public name the module below the package that defines it, for example
            `{"Encoder": "encoder.encoder"}`.

    Returns:
        A function that imports a name's module and gives the name, or raises an `AttributeError` that lists all names.
    """

    def public_name(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'. It has: {', '.join(homes)}.")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return public_name
