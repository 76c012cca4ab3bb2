"""Index pictures once, then find them by text, by picture or by a box in one, and say where."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arguments import parse_box, read_texts
    from .indexing import Indexing, Report, precision_of
    from .query import MODES, Query
    from .searcher import Explanation, Searcher

__all__ = ["MODES", "Explanation", "Indexing", "Query", "Report", "Searcher", "parse_box", "precision_of", "read_texts"]

_HOMES = {
    "MODES": "query",
    "Explanation": "searcher",
    "Indexing": "indexing",
    "Query": "query",
    "Report": "indexing",
    "Searcher": "searcher",
    "parse_box": "arguments",
    "precision_of": "indexing",
    "read_texts": "arguments",
}


def __getattr__(name: str) -> Any:
    """Import public names lazily: an index that has not changed is looked through without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'. It has: {', '.join(__all__)}.")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
