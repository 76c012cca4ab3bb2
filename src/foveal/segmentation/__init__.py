"""Label maps for other programs and other eyes; `Encoder.segment` makes them."""

from .show import as_table, confidence_picture, labels_picture, overlay, palette

__all__ = ["as_table", "confidence_picture", "labels_picture", "overlay", "palette"]
