"""From a source to an index, and keeping the two alike."""

from .index import Indexing, precision_of
from .plan import Report

__all__ = ["Indexing", "Report", "precision_of"]
