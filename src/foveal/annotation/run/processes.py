"""The same stages in several processes of this machine: rules and parsers use all of its cores.

This process reads the source and writes the journal; the others decode and do the stages' work, each with models of
its own. A run that asks an endpoint waits for answers, not for cores, and stays in one process.
"""

import os
import signal
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from ...data.numbered import numbered, size
from ...data.stream import Indexed, Record, Source
from ...flow import batched, in_order
from ..assistant.answers import Answers
from ..duplicates.fingerprints import Hashes
from ..stage import Halted, Stage
from .engine import checked, entries

BLOCK = 32
"""Samples that a process takes at once."""

Block = tuple[int, int] | list[tuple[int, Record]]


@dataclass(frozen=True)
class Processes:
    """Engine that passes samples through stages in several processes of this machine.

    Attributes:
        workers: How many.
    """

    workers: int = 2

    def __call__(
        self,
        source: Source,
        stages: Mapping[str, Stage],
        answers: Answers | None,  # noqa: ARG002  # engines are called alike
        start: int,
        hashes: Hashes | None,
    ) -> Generator[dict[str, Any]]:
        """Yield the journal's entries of all samples from `start` on, in order.

        Args:
            source: What is annotated.
            stages: By name, in order; none of them asks an endpoint.
            answers: Answers of an endpoint: there are none.
            start: The first sample wanted.
            hashes: Pictures that near-duplicates are dropped of. They are found here, after the workers' work.

        Raises:
            Halted: If a process can't go on, or was killed.
        """
        # numbers travel where they say which samples are meant, else what was read of them
        indexed = source if isinstance(source, Indexed) else None
        pool = ProcessPoolExecutor(
            self.workers, get_context("spawn"), _begin, (indexed, dict(stages), hashes is not None, self.workers)
        )
        try:
            for block in in_order(pool, _entries, _blocks(source, start), ahead=2 * self.workers):
                for entry in block:
                    yield checked(entry, hashes)
        except BrokenProcessPool as error:
            raise Halted(
                f"One of {self.workers} processes was killed, perhaps for want of memory. Take fewer: --set workers=1."
            ) from error


def _blocks(source: Source, start: int) -> Iterator[Block]:
    """Yield blocks of work: from which number to which, or the samples as they were read."""
    if isinstance(source, Indexed):
        count = size(source) or 0
        yield from ((first, min(first + BLOCK, count)) for first in range(start, count, BLOCK))
    else:
        yield from batched(numbered(source, start), BLOCK)


_work: dict[str, Any] = {}
"""What a process was begun with: it does one run's work and ends."""


def _begin(source: Source | None, stages: dict[str, Stage], hashing: bool, workers: int) -> None:
    """Prepare a process, once."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever began it says when to stop
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    _work.update(source=source, stages=stages, hashing=hashing)


def _end_with_parent() -> None:
    """End with the parent: a pool's processes outlive one that is killed, and would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _entries(block: Block) -> list[dict[str, Any]]:
    """Return the journal's entries of a block."""
    records = numbered(_work["source"], *block) if isinstance(block, tuple) else block
    return list(entries(records, _work["stages"], _work["hashing"]))
