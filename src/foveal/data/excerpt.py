"""A few samples of a source, read beside its stream, for remarks on the data and for fingerprints of it.

Nothing here moves a stream, so batches stay what they are. No picture is decoded.
"""

import os
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from itertools import chain, islice, takewhile
from math import inf
from pathlib import Path
from time import monotonic

from ..types import Sample
from .stream import Indexed, Record, Shard, Source, count_of

SHARDS = 8
"""Shards that an excerpt reads from."""
HEAD = 1 << 16
"""Bytes at the beginning of a picture that tell it from others."""


def excerpt(source: Source, most: int, seconds: float = inf) -> list[Sample | None]:
    """Return samples from evenly spaced places of a source. None is a broken one.

    Args:
        source: As a stream takes it.
        most: How many. All samples, where a source with numbered samples has no more than that.
        seconds: After which no further one is read. Without a limit they are the same ones every time.
    """
    end = monotonic() + seconds
    records = takewhile(lambda _: monotonic() < end, islice(_records(source, most), most))
    return [_sample(record) for record in records]


def fewer_than(limit: float, source: Source, seconds: float = 3.0) -> int | None:
    """Return how many samples a source has if they are fewer than `limit`, else None.

    Args:
        limit: A number of samples.
        source: As a stream takes it.
        seconds: After which counting the samples of shards ends, with None.
    """
    if isinstance(source, Indexed):
        count = count_of(source)
        return count if count is not None and count < limit else None
    number, end = 0, monotonic() + seconds
    for _ in chain.from_iterable(_until_broken(shard) for shard in source.shards()):
        number += 1
        if number >= limit or monotonic() > end:
            return None
    return number


def picture_key(image: Path | bytes) -> str:
    """Return what tells a picture from others: its size and a hash of its beginning. Empty if it can't be read."""
    if isinstance(image, bytes):
        return f"{len(image)} {blake2b(image[:HEAD], digest_size=16).hexdigest()}"
    try:
        with image.open("rb") as file:
            return f"{os.fstat(file.fileno()).st_size} {blake2b(file.read(HEAD), digest_size=16).hexdigest()}"
    except OSError:
        return ""


def evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most `most` of the numbers below `count`, the first and the last among them. (9, 3) gives 0, 4, 8."""
    if count <= most:
        return list(range(count))
    return [number * (count - 1) // max(1, most - 1) for number in range(most)]


def _records(source: Source, most: int) -> Iterator[Record]:
    if isinstance(source, Indexed):
        count, first = count_of(source), getattr(source, "first", 0)
        return (
            partial(source.sample, first + place) for place in evenly_spaced(most if count is None else count, most)
        )
    shards = source.shards()
    numbers = evenly_spaced(len(shards), SHARDS)
    share = -(-most // len(numbers))
    return chain.from_iterable(islice(_until_broken(shards[number]), share) for number in numbers)


def _until_broken(shard: Shard) -> Iterator[Record]:
    """Yield the records of a shard up to where it breaks off, if it does, of which the stream tells."""
    try:
        yield from shard.records()
    except (ValueError, OSError):
        return


def _sample(record: Record) -> Sample | None:
    try:
        return record()
    except (ValueError, OSError):
        return None
