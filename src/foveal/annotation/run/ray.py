"""The same stages on the workers of a Ray cluster, or on this machine's cores. Needs the extra `ray`.

Workers read the source themselves, so it must lie where all of them see it. Pictures do not travel; what comes back is
the journal's lines, in order. Answers of an endpoint are kept by one process beside the journal.
"""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ...data.numbered import numbered, size
from ...data.stream import Indexed, Shard, Sharded, Source
from ..assistant.answers import Answers
from ..duplicates.fingerprints import Hashes
from ..stage import Stage
from .engine import AHEAD, checked, entries

BLOCK = 64
"""Samples, at least, that a worker takes at once."""


@dataclass(frozen=True)
class Ray:
    """Engine that passes samples through stages in several processes, on one machine or many.

    Attributes:
        workers: How many. Each loads the models it needs.
    """

    workers: int = 2

    def __call__(
        self, source: Source, stages: Mapping[str, Stage], answers: Answers | None, start: int, hashes: Hashes | None
    ) -> Generator[dict[str, Any]]:
        """Yield the journal's entries of all samples from `start` on, in order.

        Args:
            source: What is annotated.
            stages: By name, in order.
            answers: Where the assistant of these stages keeps its answers, if they ask one.
            start: The first sample wanted.
            hashes: Pictures that near-duplicates are dropped of. They are found here, after the workers' work.

        Raises:
            ValueError: If Ray is not installed.
            Halted: If a worker can't go on.
        """
        ray = _ray()
        is_started_here = not ray.is_initialized()
        if is_started_here:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            if answers is not None:
                keeper = ray.remote(Answers).options(num_cpus=0).remote(answers.path, answers.run)
                answers.remote, answers.callers = _Remote(keeper), self.workers
            rows = self._rows(source, stages, start, hashes is not None)
            for number, row in enumerate(rows, start):
                yield checked({**json.loads(row["entry"]), "number": number}, hashes)
        finally:
            if answers is not None:
                answers.remote, answers.callers = None, 1
            if is_started_here:
                ray.shutdown()

    def _rows(self, source: Source, stages: Mapping[str, Stage], start: int, hashing: bool) -> Iterator[dict[str, Any]]:
        """Return rows with one entry each, from Ray Data."""
        ray = _ray()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        threads = max((getattr(stage, "concurrency", 1) for stage in stages.values()), default=1)
        pieces = cut(source, start, max(BLOCK, AHEAD * threads // self.workers))
        if not pieces:
            return iter(())
        plan = ray.data.from_items(
            [{"piece": number} for number in range(len(pieces))], override_num_blocks=len(pieces)
        )
        rows = plan.map_batches(
            _Worker,
            fn_constructor_args=(pieces, dict(stages), hashing),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(pieces))),
        )
        return iter(rows.iter_rows())


@dataclass(frozen=True)
class Piece:
    """Some samples in a row.

    Attributes:
        source: Where they are.
        start: The first of them.
        stop: The first not of them. None: all that follow are.
    """

    source: Source
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class _OneShard:
    shard: Shard

    def shards(self) -> Sequence[Shard]:
        return (self.shard,)


def cut(source: Source, start: int, block: int) -> list[Piece]:
    """Cut a source, from a number on, into pieces that workers take.

    Args:
        source: With numbered samples, cut into blocks; or with shards, a piece each.
        start: The first sample wanted.
        block: Samples in a piece, at least.
    """
    if isinstance(source, Indexed):
        count = size(source) or 0
        block = max(block, (count - start) // 4096)
        return [Piece(source, first, min(first + block, count)) for first in range(start, count, block)]
    assert isinstance(source, Sharded)
    pieces = []
    for shard in source.shards():
        records = sum(1 for _ in islice(shard.records(), start + 1)) if start else 1
        if records > start:  # the first sample wanted lies here
            pieces.append(Piece(_OneShard(shard), start))
        start -= min(records, start)
    return pieces


class _Worker:
    """Lives in a process of its own and keeps its models."""

    def __init__(self, pieces: list[Piece], stages: dict[str, Stage], hashing: bool) -> None:
        self.pieces, self.stages, self.hashing = pieces, stages, hashing

    def __call__(self, rows: dict[str, Any]) -> Iterator[dict[str, list[str]]]:
        piece = self.pieces[int(rows["piece"][0])]
        for entry in entries(numbered(piece.source, piece.start, piece.stop), self.stages, self.hashing):
            yield {"entry": [json.dumps(entry)]}


@dataclass(frozen=True)
class _Remote:
    """Calls a method of an actor and waits for what it gives."""

    actor: Any

    def __call__(self, method: str, *arguments: Any) -> Any:
        return _ray().get(getattr(self.actor, method).remote(*arguments))


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError("The engine 'ray' needs Ray. Install it: pip install 'foveal[ray]'.") from error
    return ray
