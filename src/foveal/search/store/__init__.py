"""What an index holds of its pictures, where it lies, and how it is read."""

from .features import Features
from .layout import FEATURES, METADATA, ImageFeatures, Layout, as_box, row_batch, schema
from .table import Numbered, Store

__all__ = [
    "FEATURES",
    "METADATA",
    "Features",
    "ImageFeatures",
    "Layout",
    "Numbered",
    "Store",
    "as_box",
    "row_batch",
    "schema",
]
