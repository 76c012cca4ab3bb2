"""Samples of a source by number, read from any place on."""

from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from itertools import chain, islice

from ..types import Sample
from .formats import open_source
from .stream import Indexed, Record, Sharded, Source


def open_input(spec: str, otherwise: Callable[[str], Iterable[Sample]] = open_source) -> Source:
    """Return the source that a name stands for, if it can be read from any place on.

    Raises:
        ValueError: If it is of no known kind, has no samples, or has no end.
    """
    source = otherwise(spec)
    if not isinstance(source, Indexed | Sharded):
        raise ValueError(  # noqa: TRY004  # a user's mistake
            f"'{spec}' can only be read from its beginning. Convert it to JSON Lines or WebDataset first."
        )
    if size(source) == 0:
        raise ValueError(f"'{spec}' holds no samples.")
    return source


def size(source: Source) -> int | None:
    """Return how many samples a source has. None: that takes reading it.

    Raises:
        ValueError: If it has no end.
    """
    return len(source) if isinstance(source, Sized) else None


def numbered(source: Source, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
    """Yield samples by number: a call gives the sample or says what is wrong with it.

    Args:
        source: Its samples are numbered from 0.
        start: The first wanted. Those before are not parsed.
        stop: The first not wanted any more. None: all are.
    """
    if isinstance(source, Indexed):
        first, count = getattr(source, "first", 0), size(source)
        last = count if stop is None or count is None else min(stop, count)
        return ((number, partial(source.sample, first + number)) for number in range(start, last or 0))
    records = chain.from_iterable(shard.records() for shard in source.shards())
    return enumerate(islice(records, start, stop), start)
