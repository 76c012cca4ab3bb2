"""Interface of the data engine's stages, and how a stage says that a sample does not go on."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from ..types import Box, Sample

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
"""The box of a phrase that has not been looked for yet: stages before `ground` put phrases here."""

_remarks: ContextVar[Counter[str] | None] = ContextVar("remarks", default=None)


class Dropped(Exception):  # noqa: N818  # it is no error: the sample was judged
    """A stage's judgement that a sample is not wanted. The report counts drops by reason.

    Attributes:
        reason: A few words, the same for all samples of one kind ("no caption"): they are counted by it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Halted(OSError):  # noqa: N818  # it names what happened to the run
    """Something without which no sample can go on: an endpoint that is down, a key that is refused.

    It ends the run in one line; the work so far is kept.
    """


@runtime_checkable
class Stage(Protocol):
    """A sample in, a richer sample out. A frozen dataclass; its fields are its configuration.

    A sample that cannot be worked on (a broken picture, an answer that never came) is a `ValueError` or `OSError`:
    it is kept aside with its message and can be tried again. A sample that is not wanted is a `Dropped`.

    Three further things a stage may have, all optional:

    - `batch(samples) -> Iterable[Sample | Dropped | ValueError]`, one for each sample and in order, for models that
      work on many at once; then it also has a `batch_size: int`. The engine calls it instead of the stage itself. A
      generator that yields each result after its remarks has them counted with that sample; else all of a batch's are
      counted with its first.
    - `concurrency: int`, how many samples may wait for this stage at once: the engine then calls the stage from
      that many threads. For stages that talk to an endpoint.
    - `prepared(samples) -> Stage`: the stage that does the work, after a look at the first samples of the source.
      It must depend on these alone: a run that goes on looks at them again.

    A stage must survive pickling before its first call (load models when first called).
    """

    def __call__(self, sample: Sample) -> Sample | None:
        """Return the sample, richer. None drops it without a reason; raising `Dropped` drops it with one."""


@runtime_checkable
class BatchStage(Stage, Protocol):
    """A stage that works on several samples at once."""

    batch_size: int

    def batch(self, samples: Sequence[Sample]) -> Iterable[Sample | Dropped | ValueError]:
        """Return what becomes of each sample, in order."""


def remark(reason: str, count: int = 1) -> None:
    """Count something a stage did to a part of a sample, for the report.

    For example `remark("phrase not in caption", 3)` for three regions that a filter took away. Outside of a run it
    does nothing.
    """
    counter = _remarks.get()
    if counter is not None and count:
        counter[reason] += count


@contextmanager
def listening() -> Iterator[Counter[str]]:
    """Collect the remarks made inside of the block, in this thread."""
    counter: Counter[str] = Counter()
    token = _remarks.set(counter)
    try:
        yield counter
    finally:
        _remarks.reset(token)
