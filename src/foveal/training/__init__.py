"""The run as a value, the loop that carries it out, checkpoints and the log."""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .evaluate import Evaluate
    from .feed import Feed, open_data
    from .optimizer import Optimizer
    from .run import Batch, CarryingObjective, Data, Machine, Objective, Run, Trainable
    from .start import train

__all__ = [
    "Batch",
    "CarryingObjective",
    "Data",
    "Evaluate",
    "Feed",
    "Machine",
    "Objective",
    "Optimizer",
    "Run",
    "Trainable",
    "open_data",
    "train",
]

_HOMES = {
    "Batch": "run",
    "CarryingObjective": "run",
    "Data": "run",
    "Evaluate": "evaluate",
    "Feed": "feed",
    "Machine": "run",
    "Objective": "run",
    "Optimizer": "optimizer",
    "Run": "run",
    "Trainable": "run",
    "open_data": "feed",
    "train": "start",
}

__getattr__ = lazy_names(__name__, _HOMES)
