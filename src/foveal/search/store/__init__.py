"""What an index holds of its pictures, where it lies, and how it is read."""

from .layout import FEATURES, METADATA, SCORES_VERSION, ImageFeatures, Layout, row_batch, schema
from .table import Numbered, Store

__all__ = [
    "FEATURES",
    "METADATA",
    "SCORES_VERSION",
    "ImageFeatures",
    "Layout",
    "Numbered",
    "Store",
    "row_batch",
    "schema",
]
