"""foveal: fine-grained, long-text vision-language models."""

from typing import TYPE_CHECKING

from .lazy import lazy_names
from .version import __version__ as __version__

if TYPE_CHECKING:
    from .detection.detect import detect
    from .encoder import Encoder
    from .encoder.load import load
    from .evaluation.evaluate import evaluate
    from .models.config import ModelConfig
    from .models.dual_encoder import DualEncoder
    from .training.run import Run
    from .training.start import train
    from .types import Batch, Detections, Negative, Output, Region, Sample

__all__ = [
    "Batch",
    "Detections",
    "DualEncoder",
    "Encoder",
    "ModelConfig",
    "Negative",
    "Output",
    "Region",
    "Run",
    "Sample",
    "detect",
    "evaluate",
    "load",
    "train",
]

_HOMES = {
    "Batch": "types",
    "Detections": "types",
    "DualEncoder": "models.dual_encoder",
    "Encoder": "encoder",
    "ModelConfig": "models.config",
    "Negative": "types",
    "Output": "types",
    "Region": "types",
    "Run": "training.run",
    "Sample": "types",
    "detect": "detection.detect",
    "evaluate": "evaluation.evaluate",
    "load": "encoder.load",
    "train": "training.start",
}

__getattr__ = lazy_names(__name__, _HOMES)
