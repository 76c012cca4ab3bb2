"""Measuring one encoder on any benchmarks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from ..data.scenes import Scenes
from ..encoder.scores import find_score
from .benchmark import Benchmark, Task
from .choice import CaptionChoice
from .encoded import Encodes
from .registry import BENCHMARKS
from .report import Report
from .retrieval import Retrieval


def evaluate(
    encoder: Encodes,
    names: Sequence[str],
    root: Path,
    *,
    model: str = "",
    similarity: str = "global",
    scaled_decoding: bool = False,
    benchmarks: Mapping[str, Callable[[Path], Benchmark]] = BENCHMARKS,
) -> Report:
    """Measure an encoder.

    Args:
        encoder: Of pictures and texts.
        names: Of benchmarks, in the order of the report.
        root: The folder with their data. Made-up pictures need none; they are drawn at the size the encoder sees.
        model: What the report calls the encoder.
        similarity: How whole pictures and texts are compared, one of the encoder's scores. Regions have embeddings.
        scaled_decoding: Large JPEGs are decoded at a part of their size, as an index has it: faster, and colors differ
            from what published numbers were measured on.
        benchmarks: All that there are, by name.

    Returns:
        All numbers, and the outcome of every query.

    Raises:
        ValueError: If a name or the similarity is unknown, data are absent, or an encoder gives NaN.
    """
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        raise ValueError(f"There is no benchmark '{unknown[0]}'. There are: {', '.join(benchmarks)}.")
    find_score(similarity, encoder.scores)
    results, seconds = {}, {}
    for name in names:
        start = perf_counter()
        benchmark = _drawn_at(benchmarks[name](root), encoder.image_size)
        tasks = tuple(_compared_by(task, similarity) for task in benchmark.tasks)
        results[name] = replace(benchmark, tasks=tasks, scaled_decoding=scaled_decoding)(encoder)
        seconds[name] = perf_counter() - start
    return Report(model=model, similarity=similarity, results=results, seconds=seconds, scaled_decoding=scaled_decoding)


def _compared_by(task: Task, similarity: str) -> Task:
    return replace(task, similarity=similarity) if isinstance(task, Retrieval | CaptionChoice) else task


def _drawn_at(benchmark: Benchmark, size: int) -> Benchmark:
    """The benchmark with made-up pictures of a size, so that nothing is lost in scaling."""
    samples = benchmark.samples
    return replace(benchmark, samples=replace(samples, size=size)) if isinstance(samples, Scenes) else benchmark
