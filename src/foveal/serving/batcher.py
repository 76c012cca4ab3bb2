"""Few batches of many small requests: one thread runs the model, whatever came meanwhile goes in together."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from .settings import Batching

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
logger = logging.getLogger(__name__)


@runtime_checkable
class Work(Hashable, Protocol[Item_contra, Result_co]):
    """Interface of work on many items at once. Equal works share a batch, so make them frozen dataclasses."""

    def __call__(self, items: Sequence[Item_contra], /) -> Sequence[Result_co]:
        """Return one result per item, in order. The result of an item must not depend on the other items."""


class QueueFullError(Exception):
    """Raised when the queue is full, with the seconds after which to try again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"The queue is full. Try again in {retry_after} s.")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Report:
    """Outcome of one batch.

    Attributes:
        work: Its name.
        size: Number of items.
        seconds: That it took.
        finished: When, in seconds since 1970.
        outcome: "partly" where some items failed and others did not.
        error: Of the last item that failed.
    """

    work: str
    size: int
    seconds: float
    finished: float
    outcome: Literal["ok", "partly", "failed"]
    error: str | None = None


@dataclass(frozen=True)
class State:
    """State of the batcher.

    Attributes:
        running: Its thread lives and takes work.
        queued: Items that wait.
        busy_seconds: How long the batch in hand has taken so far; 0 if there is none.
        last: The last batch. None before the first.
    """

    running: bool
    queued: int
    busy_seconds: float
    last: Report | None


@dataclass(frozen=True, eq=False)
class _Job:
    work: Work[Any, Any]
    item: Any
    arrived: float
    future: "Future[Any]"


class Batcher:
    """Gathers items of equal work and runs them together in one thread of its own.

    Order is kept: the oldest item decides which work is next, and takes along all that wait for the same. An item that
    fails in company is tried again alone, as are the others, so that it fails only itself.
    """

    def __init__(self, batching: Batching | None = None, observe: Callable[[Report], None] = lambda _: None) -> None:
        """Start the thread.

        Args:
            batching: How items are gathered.
            observe: Told of every batch, in the batcher's thread.
        """
        self.batching = batching or Batching()
        self._observe = observe
        self._jobs: list[_Job] = []
        self._changed = Condition()
        self._stopping = False
        self._started: float | None = None
        self._last: Report | None = None
        self._thread = Thread(target=self._serve, name="foveal-batcher", daemon=True)
        self._thread.start()

    async def run(self, work: Work[Item, Result], items: Sequence[Item]) -> list[Result]:
        """Return the results of the items, in order. Whoever stops waiting takes its items out of the queue.

        Args:
            work: What to do with them.
            items: All are taken into the queue or none.

        Raises:
            QueueFullError: If they do not fit, or the batcher has stopped.
            Exception: What the work raised for the first of them that failed.
        """
        waiting = [asyncio.wrap_future(future) for future in self.submit(work, items)]
        try:
            return await asyncio.gather(*waiting)
        finally:
            for future in waiting:
                future.cancel()

    def submit(self, work: Work[Item, Result], items: Sequence[Item]) -> "list[Future[Result]]":
        """Queue items and return one future for each.

        Raises:
            QueueFullError: If the items do not fit, or the batcher has stopped.
        """
        now = time.monotonic()
        jobs = [_Job(work, item, now, Future()) for item in items]
        with self._changed:
            if self._stopping or len(self._jobs) + len(jobs) > self.batching.queue:
                raise QueueFullError(self._retry_after())
            self._jobs.extend(jobs)
            self._changed.notify()
        return [job.future for job in jobs]

    def state(self) -> State:
        """Return the state as it is now."""
        with self._changed:
            busy = 0.0 if self._started is None else time.monotonic() - self._started
            return State(self._thread.is_alive() and not self._stopping, len(self._jobs), busy, self._last)

    def stop(self, seconds: float = 30.0) -> bool:
        """Take no more, finish what waits, end the thread.

        Returns:
            False if it had not finished in time; what still waits then is cancelled.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            left, self._jobs = self._jobs, []
        for job in left:
            job.future.cancel()
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while self._serve_batch():
            pass  # nothing of a batch is held while the next gathers

    def _serve_batch(self) -> bool:
        """Run the next batch. Return False once there is none and none will come."""
        jobs = self._next()
        live = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        if live:
            self._started = time.monotonic()
            self._report(live, *self._run(live))
        return bool(jobs)

    def _next(self) -> list[_Job]:
        """Return the oldest job and those that share its work, once they are enough or it has waited long enough."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._stopping)
            if not self._jobs:
                return []
            until = self._jobs[0].arrived + self.batching.wait_seconds
            while len(batch := self._gather()) < self.batching.most and not self._stopping:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            taken = set(map(id, batch))
            self._jobs = [job for job in self._jobs if id(job) not in taken]
            return batch

    def _gather(self) -> list[_Job]:
        oldest = self._jobs[0].work
        return [job for job in self._jobs if job.work == oldest][: self.batching.most]

    def _run(self, jobs: list[_Job]) -> tuple[int, Exception | None]:
        """Settle every future. Return how many failed, and the last failure."""
        try:
            results = jobs[0].work([job.item for job in jobs])
            if len(results) != len(jobs):
                raise RuntimeError(f"{_name(jobs[0].work)} gave {len(results)} results for {len(jobs)} items.")
        except Exception as error:
            if len(jobs) == 1:
                if not isinstance(error, ValueError):
                    logger.exception("%s failed", _name(jobs[0].work))
                jobs[0].future.set_exception(error)
                return 1, error
            level = logging.INFO if isinstance(error, ValueError) else logging.WARNING  # a client's mistake, or ours
            logger.log(level, "%s: %d items failed together: %s", _name(jobs[0].work), len(jobs), error)
            alone = [self._run([job]) for job in jobs]
            return sum(count for count, _ in alone), next((e for _, e in reversed(alone) if e is not None), None)
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)
        return 0, None

    def _report(self, jobs: list[_Job], failed: int, error: Exception | None) -> None:
        outcome: Literal["ok", "partly", "failed"] = (
            "ok" if not failed else "failed" if failed == len(jobs) else "partly"
        )
        message = None if error is None else f"{type(error).__name__}: {error}"
        with self._changed:
            seconds = time.monotonic() - (self._started or 0.0)
            self._started = None
            self._last = Report(_name(jobs[0].work), len(jobs), seconds, time.time(), outcome, message)
        self._observe(self._last)

    def _retry_after(self) -> int:
        """Return the whole seconds that the queue will take, going by the last batch."""
        if self._last is None:
            return 1
        return max(1, round(len(self._jobs) * self._last.seconds / self._last.size))


def _name(work: Work[Any, Any]) -> str:
    return getattr(work, "__name__", type(work).__name__)
