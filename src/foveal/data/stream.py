"""Endless, shuffled, exactly resumable batches from sources, over ranks and workers.

Every decision (which sample comes next, from which source, in which order, how it is augmented) is a function of
the seed and of how far a worker has come. So a state is a few numbers, and going on from it is going on exactly.

PyTorch's own loader carries the batches; each brings its worker's state along. (torchdata's StatefulDataLoader
resumes as exactly, but warns with current PyTorch and keeps a state of private names.)
"""

import logging
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby, islice
from random import Random
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..distributed import ALONE, World
from ..types import Sample

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Collated = TypeVar("Collated")
Record = Callable[[], Sample]
State = dict[str, Any]

BITS = (1 << 64) - 1
GRACE = 1000
"""Samples after which the share of broken ones counts; before, as many may be broken as of this number."""


@runtime_checkable
class Shard(Protocol):
    """A piece of a source that is read from front to back."""

    def records(self) -> Iterator[Record]:
        """Yield the records of samples; calling one gives the sample, or a ValueError that names its place."""


@runtime_checkable
class Sharded(Protocol):
    """A source that is read shard by shard, such as tar files. Each worker reads its own."""

    def shards(self) -> Sequence[Shard]:
        """Return the shards."""


@runtime_checkable
class Indexed(Protocol):
    """A source that gives any of its samples by number.

    How many it has is its `count` (None: it never ends) or else its length; they are numbered from its `first`, 0
    if it has no such attribute.
    """

    def sample(self, index: int) -> Sample:
        """Return one sample, or raise a ValueError that names its place."""


Source = Indexed | Sharded


class Stream(Generic[Item, Collated]):
    """Batches without end from one source or a mixture, this rank's share of them.

    A source with numbered samples is shuffled as a whole, one with shards by the order of shards and within a
    buffer. Its samples, or shards, are dealt like cards to all workers of all ranks, one epoch after the other:
    none is dealt twice before all are dealt once, none is left out, and what remains of an epoch shares batches
    with the next. With fewer shards than workers, each shard is split into every n-th of its samples.

    A broken sample is counted, logged and replaced by the next; too many stop the run. What a reader left out of a
    sample is counted, too, and logged as the count doubles: the same parts come back every epoch.

    Iterating goes on where the last iteration ended. Batches that workers have prefetched do not count as seen.
    """

    sizes_may_change = False
    """Whether a state is taken that was saved when a source had another number of samples or shards."""

    def __init__(
        self,
        sources: Source | Sequence[tuple[Source, float]],
        *,
        batch_size: int,
        prepare: Callable[[Sample, np.random.Generator], Item],
        collate: Callable[[list[Item]], Collated],
        seed: int = 0,
        shuffle_buffer: int = 1000,
        workers: int = 0,
        world: World = ALONE,
        broken_budget: float = 0.001,
        prefetch: int = 4,
    ) -> None:
        """Begin a stream.

        Args:
            sources: One source, or several, each with its weight in the mixture.
            batch_size: Samples in a batch of this rank.
            prepare: Decodes and augments a sample, in the worker. Gets randomness that depends on nothing but
                the seed and the sample's place. A ValueError or OSError marks the sample as broken.
            collate: Makes a batch of what `prepare` gave, in the worker.
            seed: Other seeds give other orders.
            shuffle_buffer: Encoded samples that each worker holds to draw from, for sources with shards.
            workers: Processes that read and prepare. None: this process does, while the step waits.
            world: Which rank of how many this is.
            broken_budget: Share of broken samples, per worker, past which the run stops.
            prefetch: Batches that each worker prepares ahead.

        Raises:
            ValueError: If a number is out of range or a source is empty.
        """
        self.sources, self.weights = _with_weights(sources)
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("shuffle_buffer", shuffle_buffer, 1),
            ("workers", workers, 0),
            ("broken_budget", broken_budget, 0),
            ("prefetch", prefetch, 1),
        ):
            if value < least:
                raise ValueError(f"Stream has {name}={value}; it must be at least {least}.")
        self.batch_size, self.prepare, self.collate = batch_size, prepare, collate
        self.seed, self.shuffle_buffer, self.workers, self.world = seed, shuffle_buffer, workers, world
        self.broken_budget, self.prefetch = broken_budget, prefetch
        self._sizes = [_size(source) for source in self.sources]
        self._turn = 0
        self._states: list[State] = [_beginning(len(self.sources)) for _ in range(max(1, workers))]

    @property
    def broken(self) -> int:
        """The number of broken samples of this rank so far."""
        return sum(state["broken"] for state in self._states)

    @property
    def left_out(self) -> int:
        """The number of parts left out of this rank's samples so far, such as boxes without area."""
        return sum(state.get("left_out", 0) for state in self._states)

    def state_dict(self) -> State:
        """Return the stream's place, after the last batch it gave: plain numbers and lists, for this rank alone."""
        return {**self._settings(), "turn": self._turn, "consumers": [_copied(state) for state in self._states]}

    def load_state_dict(self, state: State) -> None:
        """Go on, from the next iteration, where a stream with the same sources and settings was.

        Raises:
            ValueError: If a setting differs that the order depends on.
        """
        for name, value in self._settings().items():
            if state.get(name) != value and not (name == "sizes" and self.sizes_may_change):
                raise ValueError(
                    f"The stream's state was saved with {name}={state.get(name)}, this stream has {value}."
                    " Resume with the settings of the saved run, or start without its state."
                )
        self._turn = state["turn"]
        self._states = [_copied(consumer) for consumer in state["consumers"]]

    def __iter__(self) -> Iterator[Collated]:
        """Yield the batches from here on, without end.

        Raises:
            ValueError: If more samples are broken than the budget allows.
        """
        loader: DataLoader[_Packet] = DataLoader(
            _Consumers(self, self._turn, [_copied(state) for state in self._states]),
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            worker_init_fn=_use_one_thread,
            generator=torch.Generator(),  # else the loader draws a seed from the global one and shifts the model's
        )
        for packet in loader:
            for note in packet.notes:
                log.warning("broken sample: %s", note)
            if packet.failure:
                raise ValueError(packet.failure)
            before = self.left_out
            self._states[self._turn] = packet.state
            if packet.left_out and self.left_out.bit_length() > before.bit_length():
                log.warning("%d parts of samples left out so far, the last one of %s", self.left_out, packet.left_out)
            self._turn = (self._turn + 1) % len(self._states)
            yield packet.batch

    def _settings(self) -> State:
        """Return all settings that the order of samples depends on."""
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "shuffle_buffer": self.shuffle_buffer,
            "workers": self.workers,
            "rank": self.world.rank,
            "ranks": self.world.size,
            "weights": list(self.weights),
            "sizes": list(self._sizes),
        }


def permuted(index: int, count: int, key: int) -> int:
    """Return the place of an index when 0 to `count` - 1 are shuffled: a bijection that needs no table.

    A Feistel network over the next power of four, walked until it lands below `count` (Black and Rogaway 2002,
    "Ciphers with arbitrary finite domains", method 2). A table of a billion samples would take 8 GB a worker.

    Args:
        index: From 0 to `count` - 1.
        count: How many there are.
        key: Another key, another order.

    Returns:
        The place. 0 if `count` is 1.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(6):
            left, right = right, left ^ (mix(key, turn, right) & mask)
        index = left << half | right
        if index < count:
            return index


def mix(*numbers: int) -> int:
    """Mix numbers to 64 bits, the same on every machine (SplitMix64's finalizer, chained)."""
    bits = 0
    for number in numbers:
        bits = (bits + number + 0x9E3779B97F4A7C15) & BITS
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & BITS
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & BITS
        bits ^= bits >> 31
    return bits


@dataclass(frozen=True)
class _Packet:
    """A worker's message: a batch, its state after it and notes on broken samples; or why it gave up.

    Of what was left out of whole samples, it brings the last.
    """

    batch: Any
    state: State
    notes: tuple[str, ...]
    left_out: str = ""
    failure: str = ""


class _Consumers(IterableDataset[_Packet]):
    """The data set that the loader copies into its workers; each then is one consumer of the sources."""

    def __init__(self, stream: Stream[Any, Any], turn: int, states: list[State]) -> None:
        self.stream, self.turn, self.states = stream, turn, states

    def __iter__(self) -> Iterator[_Packet]:
        worker = get_worker_info()
        # the loader asks worker 0 first; it must be the consumer whose turn it is
        number = (self.turn + (worker.id if worker else 0)) % len(self.states)
        return _Consumer(self.stream, len(self.states), number, self.states[number]).packets()


class _Consumer:
    """One worker of one rank: draws samples, prepares them, makes batches."""

    def __init__(self, stream: Stream[Any, Any], of_rank: int, number: int, state: State) -> None:
        consumers = of_rank * stream.world.size
        self.stream = stream
        self.number = of_rank * stream.world.rank + number
        self.seen, self.broken = state["seen"], state["broken"]
        self.left_out, self.last_left_out = state.get("left_out", 0), ""
        self.shares = list(accumulate(stream.weights))
        self.readers = [
            (_Numbered if isinstance(source, Indexed) else _Buffered)(
                source, mix(stream.seed, place), self.number, consumers, stream.shuffle_buffer, position
            )
            for place, (source, position) in enumerate(zip(stream.sources, state["sources"], strict=True))
        ]

    def packets(self) -> Iterator[_Packet]:
        """Yield batches without end, or one packet that says why there is none."""
        while True:
            ready: list[Any] = []
            notes: list[str] = []
            self.last_left_out = ""
            try:
                while len(ready) < self.stream.batch_size:
                    self._add(ready, notes)
            except _GiveUpError as error:
                yield _Packet(None, self._state(), tuple(notes), failure=str(error))
                return
            yield _Packet(self.stream.collate(ready), self._state(), tuple(notes), self.last_left_out)

    def _add(self, ready: list[Any], notes: list[str]) -> None:
        """Draw one sample and prepare it; a broken one goes to the notes."""
        record = next(self.readers[self._choose()])
        random = np.random.default_rng([self.stream.seed & BITS, self.number, self.seen])
        self.seen += 1
        name = ""
        try:
            sample = record()
            name = f"{sample.id}: "
            ready.append(self.stream.prepare(sample, random))
            if sample.notes:
                self.left_out += len(sample.notes)
                self.last_left_out = f"{sample.id}: {sample.notes[-1]}"
        except (ValueError, OSError) as error:
            self.broken += 1
            notes.append(f"{name}{error}")
            if self.broken > self.stream.broken_budget * max(self.seen, GRACE):
                raise _GiveUpError(
                    f"{self.broken} of {self.seen} samples were broken, more than broken_budget="
                    f"{self.stream.broken_budget:g} allows. The last one: {name}{error}"
                ) from error

    def _choose(self) -> int:
        """Choose the source of the next sample."""
        if len(self.shares) == 1:
            return 0
        share = mix(self.stream.seed, self.number, self.seen) / 2**64 * self.shares[-1]
        return min(bisect(self.shares, share), len(self.shares) - 1)

    def _state(self) -> State:
        sources = [dict(reader.state) for reader in self.readers]
        return {"seen": self.seen, "broken": self.broken, "left_out": self.left_out, "sources": sources}


class _GiveUpError(Exception):
    """A worker cannot go on. Sent to the main process as a line, since a raised error would become a page."""


class _Numbered:
    """A consumer's draws from a source with numbered samples: every n-th place of the shuffled epochs."""

    def __init__(self, source: Any, key: int, consumer: int, consumers: int, _buffer: int, state: State) -> None:
        self.source, self.key, self.consumer, self.consumers = source, key, consumer, consumers
        self.count, self.first = count_of(source), getattr(source, "first", 0)
        self.state = {"drawn": state.get("drawn", 0)}

    def __next__(self) -> Record:
        place = self.consumer + self.consumers * self.state["drawn"]
        self.state["drawn"] += 1
        if self.count is not None:
            epoch, place = divmod(place, self.count)
            place = permuted(place, self.count, mix(self.key, epoch))
        return partial(self.source.sample, self.first + place)


class _Read(NamedTuple):
    """A record and where it came from: which of the consumer's cards, which of the card's records."""

    card: int
    ordinal: int
    run: tuple[int, int]
    record: Record


class _Buffered:
    """A consumer's draws from a source with shards.

    Records are read in order and given out in shuffled runs of a buffer's length, which end with an epoch. While a
    run is given out the next is read, record for record, so that no step waits for a whole buffer. A state is where
    the run began and how much of it is out; going on reads that run again.
    """

    def __init__(self, source: Any, key: int, consumer: int, consumers: int, buffer: int, state: State) -> None:
        self.shards = source.shards()
        self.parts = -(-consumers // len(self.shards))
        self.cards = len(self.shards) * self.parts
        self.key, self.consumer, self.consumers, self.buffer = key, consumer, consumers, buffer
        self.state = {name: state.get(name, 0) for name in ("card", "record", "given")}
        self.draws = self._shuffle()

    def __next__(self) -> Record:
        return next(self.draws)

    def _shuffle(self) -> Iterator[Record]:
        """Yield the records of each run in another order."""
        skip = self.state["given"]
        runs = (run for _, run in groupby(self._deal(), key=lambda read: read.run))
        window = list(next(runs))
        for run in runs:
            card, ordinal = window[0].card, window[0].ordinal
            Random(mix(self.key, self.consumer, card, ordinal)).shuffle(window)
            following: list[_Read] = []
            for position in range(1, len(window) + 1):
                following.extend(islice(run, 1))
                record = window.pop().record
                if position > skip:
                    self.state = {"card": card, "record": ordinal, "given": position}
                    yield record
            following.extend(run)
            window, skip = following, 0

    def _deal(self) -> Iterator[_Read]:
        """Yield the records of the consumer's cards, in order, from where the state says."""
        card, skip = self.state["card"], self.state["record"]
        epoch, read, empty = -1, 0, 0
        while empty <= max(self.cards, 1000):
            last, (epoch, place) = epoch, divmod(self.consumer + self.consumers * card, self.cards)
            read = read if epoch == last else 0
            shard, part = divmod(permuted(place, self.cards, mix(self.key, epoch)), self.parts)
            records = enumerate(islice(_until_broken(self.shards[shard]), part, None, self.parts))
            empty += 1
            for ordinal, record in islice(records, skip, None):
                yield _Read(card, ordinal, (epoch, read // self.buffer), record)
                read, empty = read + 1, 0
            card, skip = card + 1, 0
        raise _GiveUpError(f"{empty} shards in a row are empty, the last one {self.shards[shard]}.")


def _until_broken(shard: Shard) -> Iterator[Record]:
    """Yield the records of a shard. If it breaks off, the last one says why."""
    try:
        yield from shard.records()
    except (ValueError, OSError) as error:
        yield partial(_fail, error)


def _fail(error: Exception) -> Sample:
    raise error


def _with_weights(sources: Source | Sequence[tuple[Source, float]]) -> tuple[tuple[Source, ...], tuple[float, ...]]:
    """Return sources and weights, apart."""
    pairs = list(sources) if isinstance(sources, Sequence) else [(sources, 1.0)]
    if not pairs:
        raise ValueError("A stream needs a source; there is none.")
    wrong = next((weight for _, weight in pairs if not 0 < weight < float("inf")), None)
    if wrong is not None:
        raise ValueError(f"Weight {wrong} of a source must be above 0 and finite. Leave the source out instead.")
    return tuple(source for source, _ in pairs), tuple(float(weight) for _, weight in pairs)


def count_of(source: Any) -> int | None:
    """Return how many samples a source with numbered samples has; None if it never ends."""
    return source.count if hasattr(source, "count") else len(source)


def _size(source: Any) -> int | None:
    """Return the number of samples or of shards. Asked before workers start, so that they share a source's index."""
    if isinstance(source, Indexed):
        size = count_of(source)
    elif isinstance(source, Sharded):
        size = len(source.shards())
    else:
        raise TypeError(f"{source!r:.80} is no source: it has neither 'sample' nor 'shards'.")
    if size == 0:
        raise ValueError(f"Source {source!r:.80} has no samples.")
    return size


def _beginning(sources: int) -> State:
    """Return the state of a consumer that has drawn nothing."""
    return {"seen": 0, "broken": 0, "left_out": 0, "sources": [{} for _ in range(sources)]}


def _copied(state: State) -> State:
    """Return a consumer's state that shares nothing with the original."""
    return {**state, "sources": [dict(position) for position in state["sources"]]}


def _unchanged(packet: Any) -> Any:
    return packet


def _use_one_thread(_worker: int) -> None:
    """Set one thread for a worker: workers are the parallelism; threads within them would only compete."""
    torch.set_num_threads(1)
