"""Items one after another: in batches, and with work on the next ones under way."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def do_nothing() -> None:
    """Do nothing: there is nothing to stop."""


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield so many items at a time, in order; the last batch holds what is left."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def in_order(
    pool: Executor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
    stop: Callable[[], None] = do_nothing,
) -> Generator[Result]:
    """Yield the results of work on items by a pool, in order, with a bounded number under way.

    The pool is shut down in the end, also where the flow is left before it or work fails; what has not begun by then
    is not begun any more.

    Args:
        pool: Threads or processes; no one else's.
        work: Done there.
        items: Taken as they are needed.
        ahead: Items under way at most, results that nobody has taken yet included.
        stop: Called where the flow is left before its end.
    """
    whole = False
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(work, item))
            if len(under_way) >= ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
        whole = True
    finally:
        if not whole:
            stop()
        pool.shutdown(wait=True, cancel_futures=True)
