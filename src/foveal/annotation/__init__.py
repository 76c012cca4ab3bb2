"""The data engine: sample in, richer sample out."""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .assistant.assistant import Assistant
    from .detectors import AssistantDetector, Detection, Detector, Proposed
    from .duplicates.near_duplicates import near_duplicates, similar_pictures
    from .run.output import Output
    from .run.pipeline import Annotation, Summary
    from .run.processes import Processes
    from .run.ray import Ray
    from .stage import BatchStage, Dropped, Halted, Stage, remark
    from .stages.caption import Caption
    from .stages.filter import Filter
    from .stages.ground import Ground
    from .stages.negatives import Negatives
    from .stages.phrases import Phrases
    from .stages.settings import Settings

__all__ = [
    "Annotation",
    "Assistant",
    "AssistantDetector",
    "BatchStage",
    "Caption",
    "Detection",
    "Detector",
    "Dropped",
    "Filter",
    "Ground",
    "Halted",
    "Negatives",
    "Output",
    "Phrases",
    "Processes",
    "Proposed",
    "Ray",
    "Settings",
    "Stage",
    "Summary",
    "near_duplicates",
    "remark",
    "similar_pictures",
]

_HOMES = {
    "Annotation": "run.pipeline",
    "Assistant": "assistant.assistant",
    "AssistantDetector": "detectors",
    "BatchStage": "stage",
    "Caption": "stages.caption",
    "Detection": "detectors",
    "Detector": "detectors",
    "Dropped": "stage",
    "Filter": "stages.filter",
    "Ground": "stages.ground",
    "Halted": "stage",
    "Negatives": "stages.negatives",
    "Output": "run.output",
    "Phrases": "stages.phrases",
    "Processes": "run.processes",
    "Proposed": "detectors",
    "Ray": "run.ray",
    "Settings": "stages.settings",
    "Stage": "stage",
    "Summary": "run.pipeline",
    "near_duplicates": "duplicates.near_duplicates",
    "remark": "stage",
    "similar_pictures": "duplicates.near_duplicates",
}

__getattr__ = lazy_names(__name__, _HOMES)
