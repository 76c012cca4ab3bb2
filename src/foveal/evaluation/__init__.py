"""How good a model is: kinds of task, named benchmarks, and a report with intervals."""

from .benchmark import Benchmark, Task
from .choice import CaptionChoice, RegionChoice, choose
from .classification import Classification, imagenet_prompts
from .evaluate import evaluate
from .regions import RegionClassification, RegionRetrieval
from .registry import BENCHMARKS, SCENE_TASKS
from .report import Report, read_report, table
from .result import Metric, Queries, Result
from .retrieval import Retrieval, ranks

__all__ = [
    "BENCHMARKS",
    "SCENE_TASKS",
    "Benchmark",
    "CaptionChoice",
    "Classification",
    "Metric",
    "Queries",
    "RegionChoice",
    "RegionClassification",
    "RegionRetrieval",
    "Report",
    "Result",
    "Retrieval",
    "Task",
    "choose",
    "evaluate",
    "imagenet_prompts",
    "ranks",
    "read_report",
    "table",
]
