"""Measuring one encoder on any benchmarks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from ..data.scenes import Scenes
from ..encoder import Encoder
from ..encoder.scores import find_score
from ..types import Box
from .benchmark import Benchmark, Task, with_area
from .cache import Cache
from .encoded import Encodes
from .own import Own, is_own, own
from .pinned.check import Checked, checked
from .pinned.contamination import flags
from .pinned.published import compare, neighbors
from .pinned.reading import Roots, read
from .pinned.registry import Pinned, expand, registry, unknown
from .pinned.tasks import Measured, measured
from .registry import BENCHMARKS
from .report import Provenance, Report
from .result import Result
from .shared import Shared


@dataclass(frozen=True)
class _Ready:
    """A protocol whose data are read."""

    pinned: Pinned
    checked: Checked
    measured: Measured


@dataclass(frozen=True)
class _Judged:
    """What the numbers of all protocols are judged by."""

    model: str
    preparation: Mapping[str, Any]
    trained_on: Sequence[str]
    limit: int | None


def evaluate(  # noqa: PLR0913  # a setting each
    encoder: Encodes,
    names: Sequence[str],
    root: Path | Sequence[Path],
    *,
    model: str = "",
    similarity: str = "global",
    boxes: str = "dense",
    scaled_decoding: bool = False,
    limit: int | None = None,
    cache: Cache | None = None,
    trained_on: Sequence[str] = (),
    benchmarks: Mapping[str, Callable[[], Benchmark]] = BENCHMARKS,
) -> Report:
    """Measure an encoder. What several benchmarks ask about a picture or a text is encoded once.

    Args:
        encoder: Of pictures and texts.
        names: Of protocols, groups of them such as "@long", benchmarks of made-up pictures, or files of one's own in
            any format that training reads.
        root: The folder, or folders, with their data. Made-up pictures need none; they are drawn at the size the
            encoder sees.
        model: What the report calls the encoder.
        similarity: How whole pictures and texts are compared, one of the encoder's scores. Regions have embeddings.
        boxes: Where the boxes of detection come from, see `detection.lookup.proposer`.
        scaled_decoding: Large JPEGs are decoded at a part of their size, as an index has it: faster, and colors differ
            from what published numbers were measured on.
        limit: Rows of each protocol that are measured, to try things out. None: all, which is the protocol.
        cache: Where encodings are found and kept, see `Cache.open`. None: they are forgotten after this call.
        trained_on: Names of data sets that the model was trained on, see `pinned.contamination.training_of`.
        benchmarks: Those of made-up pictures, by name.

    Returns:
        All numbers, the outcome of every query, and which data they were measured on.

    Raises:
        ValueError: If a name or the similarity is unknown, data are absent, or an encoder gives NaN.
    """
    files = {data.name: data for data in map(own, filter(is_own, names))}
    ordered = [*check_names([name for name in names if not is_own(name)], benchmarks), *files]
    protocols = registry()
    find_score(similarity, encoder.scores)
    roots = Roots((root,) if isinstance(root, Path) else tuple(root))
    ready = {name: _ready(protocols[name], roots, limit) for name in ordered if name in protocols}
    regions = _boxes([data.measured for data in ready.values()])
    shared = Shared(encoder.decoding(scaled=scaled_decoding), regions, cache)
    results: dict[str, dict[str, Result]] = {}
    seconds: dict[str, float] = {}
    for name in ordered:
        start = perf_counter()
        measuring: Encodes = shared
        if name in benchmarks:
            benchmark, measuring = _drawn_at(benchmarks[name](), encoder.image_size), encoder
        elif name in files:
            benchmark = files[name].benchmark
        else:
            benchmark = ready[name].measured.benchmark()
        tasks = tuple(_with_settings(task, similarity=similarity, boxes=boxes) for task in benchmark.tasks)
        results[name] = replace(benchmark, tasks=tasks, scaled_decoding=scaled_decoding)(measuring)
        seconds[name] = perf_counter() - start
    facts = _facts(encoder)
    judged = _Judged(model, facts.get("preparation", {}), trained_on, limit)
    return Report(
        model=model,
        similarity=similarity,
        results=results,
        seconds=seconds,
        scaled_decoding=scaled_decoding,
        protocols={name: _provenance(data, results[name], judged) for name, data in ready.items()}
        | {name: _own_provenance(data) for name, data in files.items()},
        about=facts,
    )


def check_names(names: Sequence[str], benchmarks: Mapping[str, object] = BENCHMARKS) -> list[str]:
    """Return full names, groups and older names replaced.

    Raises:
        ValueError: If a name is unknown.
    """
    ordered = expand(name for name in names if not is_own(name))
    all_names = [*benchmarks, *registry()]
    strange = [name for name in ordered if name not in all_names]
    if strange:
        raise ValueError(unknown(strange[0], all_names))
    return ordered


def _ready(pinned: Pinned, roots: Roots, limit: int | None) -> _Ready:
    if not pinned.runnable:
        raise ValueError(f"{pinned.name} is known and not run here: {pinned.why_not}.")
    data = read(pinned, roots)
    whole = measured(pinned, data)
    part = whole if limit is None else measured(pinned, data, limit)
    return _Ready(pinned, checked(pinned, data, whole), part)


def _boxes(protocols: Sequence[Measured]) -> dict[Path | bytes, list[Box]]:
    """All boxes of each picture, of all protocols."""
    boxes: dict[Path | bytes, list[Box]] = {}
    for protocol in protocols:
        for sample in map(with_area, protocol.samples):
            if sample.regions:
                boxes.setdefault(sample.image, []).extend(region.box for region in sample.regions)
    return boxes


def _with_settings(task: Task, **settings: str) -> Task:
    """The task with those settings that it has a field for: a similarity of whole pictures, a source of boxes."""
    changed: Any = task
    names = {field.name for field in fields(changed)}
    return replace(changed, **{name: value for name, value in settings.items() if name in names})


def _drawn_at(benchmark: Benchmark, size: int) -> Benchmark:
    """The benchmark with made-up pictures of a size, so that nothing is lost in scaling."""
    samples = benchmark.samples
    return replace(benchmark, samples=replace(samples, size=size)) if isinstance(samples, Scenes) else benchmark


def _provenance(ready: _Ready, results: Mapping[str, Result], judged: _Judged) -> Provenance:
    pinned, found = ready.pinned, ready.checked
    whole = found.verdict not in ("differs", "unchecked") and found.whole and judged.limit is None
    result = next(iter(results.values()))
    return Provenance(
        sha256=found.sha256,
        verdict=found.verdict,
        images=found.images,
        present=found.present,
        rows=found.rows,
        layout=found.data.layout,
        rules=pinned.rules,
        equal_texts=pinned.equal_texts,
        ties=pinned.ties,
        limit=judged.limit,
        comparable=tuple(
            verdict.as_json() for verdict in compare(result, pinned.name, judged.model, whole, judged.preparation)
        ),
        neighbors=neighbors(result, pinned.name, judged.model) if whole else (),
        contamination=flags(pinned, judged.model, judged.trained_on),
    )


def _own_provenance(own: Own) -> Provenance:
    rows = sum(task.count(own.benchmark.samples) for task in own.benchmark.tasks)
    return Provenance(own.sha256, "own", own.images, own.present, rows, own.path)


def _facts(encoder: Encodes) -> dict[str, Any]:
    """What numbers may hang on beside data and rules."""
    facts: dict[str, Any] = {
        "environment": {
            "torch": torch.__version__,
            "numpy": version("numpy"),
            "device": str(encoder.device),
            "threads": torch.get_num_threads(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
        }
    }
    if isinstance(encoder, Encoder):
        text = encoder.model.config.text
        facts["preparation"] = {
            **asdict(encoder.protocol),
            "size": encoder.image_size,
            "text_length": {kind: text.length(kind) for kind in ("caption", "long_caption", "phrase")},
            "dtype": str(encoder.dtype).removeprefix("torch."),
            "batch_size": encoder.batch_size,
        }
    return facts
