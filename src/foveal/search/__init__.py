"""Index pictures once, then find them by text, by picture or by a box in one, and say where."""

from .indexing import Indexing, Report, precision_of
from .query import MODES, Query, parse_box, read_texts
from .searcher import Explanation, Searcher

__all__ = [
    "MODES",
    "Explanation",
    "Indexing",
    "Query",
    "Report",
    "Searcher",
    "parse_box",
    "precision_of",
    "read_texts",
]
