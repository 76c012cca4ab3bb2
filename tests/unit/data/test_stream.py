import logging
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from random import Random

import pytest
import torch

from foveal.data.stream import Stream, mix, permuted
from foveal.distributed import World
from foveal.types import Sample


def sample_of(name, broken):
    if name in broken:
        raise ValueError(f"here.jsonl: {name} is broken")
    return Sample(name, b"")


@dataclass(frozen=True)
class Numbered:
    """Samples by number."""

    count: int | None
    name: str = "n"
    first: int = 0
    broken: frozenset[str] = frozenset()

    def sample(self, index: int) -> Sample:
        assert index >= self.first
        assert self.count is None or index < self.first + self.count
        return sample_of(f"{self.name}{index}", self.broken)


@dataclass(frozen=True)
class Piece:
    """One shard: its samples, and whether it breaks off after them."""

    names: tuple[str, ...]
    broken: frozenset[str] = frozenset()
    breaks: bool = False

    def records(self):
        for name in self.names:
            yield partial(sample_of, name, self.broken)
        if self.breaks:
            raise ValueError(f"{self.names[-1]} is where the shard breaks off")


@dataclass(frozen=True)
class Pieces:
    """Shards of uneven sizes."""

    pieces: tuple[Piece, ...]

    def shards(self):
        return self.pieces


def pieces(sizes, name="s", broken=frozenset()) -> Pieces:
    names = [tuple(f"{name}{shard}.{i}" for i in range(size)) for shard, size in enumerate(sizes)]
    return Pieces(tuple(Piece(some, broken) for some in names))


def identity(sample, random):
    return sample.id


def augmented(sample, random):
    return sample.id, float(random.random())


def threads(sample, random):
    return torch.get_num_threads()


def refuse_odd(sample, random):
    if int(sample.id[1:]) % 2:
        raise OSError("cannot decode")
    return sample.id


def make(sources, **changes) -> Stream:
    return Stream(sources, **{"batch_size": 4, "prepare": identity, "collate": tuple, "seed": 3, **changes})


def draw(stream, batches) -> list:
    return [name for batch in islice(stream, batches) for name in batch]


MIXED = (
    (Numbered(7), 1.0),
    (pieces((5, 3, 4)), 2.0),
    (Numbered(None, "endless"), 0.5),
)


@pytest.mark.parametrize("count", [1, 2, 3, 17, 64, 1000])
def test_permuted_is_a_bijection(count):
    assert sorted(permuted(i, count, 5) for i in range(count)) == list(range(count))


def test_permuted_sends_every_index_everywhere_alike():
    counts = Counter(permuted(i, 5, mix(key)) + 5 * i for key in range(500) for i in range(5))
    chi_square = sum((counts[cell] - 100) ** 2 / 100 for cell in range(25))
    assert chi_square < 45  # 16 degrees of freedom: exceeded once in ten thousand keys

    orders = {tuple(permuted(i, 4, mix(key)) for i in range(4)) for key in range(200)}
    assert len(orders) == 24


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("source", [Numbered(48), pieces((6,) * 8)])
def test_an_epoch_holds_every_sample_once_over_all_ranks_and_workers(source, workers, size):
    ranks = [make(source, workers=workers, world=World(rank, size), shuffle_buffer=5) for rank in range(size)]
    batches = 12 // size
    for _epoch in range(2):
        seen = [name for rank in ranks for name in draw(rank, batches)]
        assert len(seen) == len(set(seen)) == 48


def test_uneven_shards_lose_nothing_over_many_epochs():
    """Whoever gets the long shard takes longer; each worker's cards are still dealt once an epoch."""
    source = pieces((1, 9, 4))
    seen = Counter(draw(make(source, batch_size=7), 2 * 30))
    assert set(seen.values()) == {30}


@pytest.mark.parametrize("source", [pieces((40,)), pieces((17, 23))])
def test_fewer_shards_than_consumers_are_split_among_them(source):
    ranks = [make(source, batch_size=1, world=World(rank, 4)) for rank in range(4)]
    seen = [name for rank in ranks for name in draw(rank, 5)]
    assert len(set(seen)) == 20
    seen = [name for rank in ranks for name in draw(make(source, batch_size=1, world=rank.world), 80)]
    assert len(set(seen)) == 40


def test_epochs_are_shuffled_and_differ():
    for source in (Numbered(60), pieces((10,) * 6)):
        names = draw(make(source), 30)
        assert sorted(names[:60]) == sorted(names[60:])
        assert names[:60] != names[60:]
        assert names[:60] != sorted(names[:60])


def test_the_buffer_mixes_shards():
    source = pieces((10,) * 6)
    neighbors = draw(make(source, shuffle_buffer=60), 15)
    changes = sum(a.partition(".")[0] != b.partition(".")[0] for a, b in pairwise(neighbors))
    assert changes > 35  # 49 expected, 5 without a buffer


def test_a_buffer_of_one_keeps_the_order_within_shards():
    names = draw(make(pieces((8, 8)), shuffle_buffer=1), 4)
    assert names[:8] in ([f"s0.{i}" for i in range(8)], [f"s1.{i}" for i in range(8)])


def test_a_seed_decides_all():
    assert draw(make(MIXED), 20) == draw(make(MIXED), 20)
    assert draw(make(MIXED), 20) != draw(make(MIXED, seed=4), 20)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_cut_off_and_resumed_equals_uninterrupted(workers):
    def fresh():
        return make(MIXED, workers=workers, shuffle_buffer=4, prepare=augmented, batch_size=3)

    whole = list(islice(fresh(), 24))
    for cut in (1, 2, 9, 16) if workers < 2 else (7, 16):
        first = fresh()
        before = list(islice(first, cut))
        state = first.state_dict()
        resumed = fresh()
        resumed.load_state_dict(state)
        assert before + list(islice(resumed, 24 - cut)) == whole


@pytest.mark.parametrize("buffer", [1, 3, 100])
def test_resuming_is_exact_at_every_batch_of_sharded_sources(buffer):
    def fresh():
        return make(pieces((5, 1, 4, 7)), shuffle_buffer=buffer, batch_size=2)

    whole, states, stream = [], [], fresh()
    for batch in islice(stream, 40):
        whole.append(batch)
        states.append(stream.state_dict())
    for cut, state in enumerate(states, start=1):
        resumed = fresh()
        resumed.load_state_dict(state)
        assert list(islice(resumed, 3)) == (whole + list(islice(stream, 3)))[cut : cut + 3] or cut > 37


def test_iterating_again_goes_on():
    stream, whole = make(MIXED), draw(make(MIXED), 10)
    assert draw(stream, 4) + draw(stream, 6) == whole


def test_a_state_is_plain_and_keeps_still():
    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(one) for key, one in value.items())
        return all(map(plain, value)) if isinstance(value, list) else isinstance(value, int | float | str | None)

    stream = make(MIXED, workers=2)
    draw(stream, 5)
    state = stream.state_dict()
    before = repr(state)
    draw(stream, 5)
    assert plain(state)
    assert repr(state) == before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": 9}, "seed=3"),
        ({"workers": 1, "shuffle_buffer": 5}, "shuffle_buffer"),
        ({"world": World(1, 2)}, "rank"),
    ],
)
def test_a_state_of_other_settings_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        make(MIXED, **change).load_state_dict(make(MIXED).state_dict())


def test_sources_are_mixed_by_weight():
    sources = [(Numbered(50, "a"), 3.0), (pieces((40, 40), "b"), 1.0)]
    names = draw(make(sources, batch_size=100), 20)
    share = sum(name.startswith("a") for name in names) / 2000
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / 2000) ** 0.5


def test_numbers_begin_with_the_sources_first():
    assert set(draw(make(Numbered(8, first=100)), 2)) == {f"n{i}" for i in range(100, 108)}


def test_an_endless_source_is_dealt_in_order():
    ranks = [make(Numbered(None), world=World(rank, 2)) for rank in range(2)]
    assert [draw(rank, 2) for rank in ranks] == [[f"n{2 * i + rank}" for i in range(8)] for rank in range(2)]


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_samples_are_counted_logged_and_replaced(workers, caplog):
    source = Numbered(40, broken=frozenset({"n7", "n21"}))
    stream = make(source, batch_size=2, workers=workers, broken_budget=0.01)
    with caplog.at_level(logging.WARNING):
        names = draw(stream, 60)
    assert set(names) == {f"n{i}" for i in range(40)} - {"n7", "n21"}
    assert stream.broken == len(caplog.records) >= 5
    assert {record.message for record in caplog.records} == {
        "broken sample: here.jsonl: n21 is broken",
        "broken sample: here.jsonl: n7 is broken",
    }
    resumed = make(source, batch_size=2, workers=workers, broken_budget=0.01)
    resumed.load_state_dict(stream.state_dict())
    assert resumed.broken == stream.broken


@dataclass(frozen=True)
class Odd(Numbered):
    """Every second sample has lost two parts."""

    def sample(self, index: int) -> Sample:
        return Sample(f"o{index}", b"", notes=("box without area: 1", "box without area: 2") if index % 2 else ())


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_left_out_of_samples_is_counted_and_logged_as_it_doubles(workers, caplog):
    stream = make(Odd(10), workers=workers, batch_size=5)
    assert len(draw(stream, 8)) == 8 * 5
    assert (stream.left_out, stream.broken) == (40, 0)
    assert 3 <= len(caplog.messages) <= 6
    assert "40 parts of samples left out" not in caplog.text
    assert all(re.fullmatch(r"\d+ parts of .*, the last one of o[13579]: box .*: 2", line) for line in caplog.messages)
    resumed = make(Odd(10), workers=workers, batch_size=5)
    resumed.load_state_dict(stream.state_dict())
    draw(resumed, 2)
    assert resumed.left_out == 50


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_broken_samples_stop_the_run(workers):
    source = Numbered(40, broken=frozenset({"n3", "n9", "n12"}))
    stream = make(source, workers=workers, broken_budget=0.002)
    with pytest.raises(ValueError, match=r"^3 of \d+ samples were broken, more than broken_budget=0.002.*n\d+ is"):
        draw(stream, 10)


def test_the_budget_is_a_share_after_the_first_thousand():
    source = Numbered(200, broken=frozenset({"n3"}))
    stream = make(source, batch_size=100, broken_budget=0.007)
    draw(stream, 12)
    assert stream.broken in (6, 7)
    with pytest.raises(ValueError, match=r"broken_budget=0\.004"):
        draw(make(source, batch_size=100, broken_budget=0.004), 12)


def test_what_cannot_be_prepared_is_broken_and_named():
    with pytest.raises(ValueError, match=r"The last one: n\d*[13579]: cannot decode"):
        draw(make(Numbered(10), prepare=refuse_odd), 1)


def test_a_shard_that_breaks_off_gives_what_it_has_and_counts():
    source = Pieces((Piece(("a", "b"), breaks=True), Piece(("c", "d"))))
    stream = make(source, broken_budget=0.001)
    assert sorted(draw(stream, 1)) == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="is where the shard breaks off"):
        draw(stream, 3)


def test_workers_use_one_thread_and_leave_the_seed_alone():
    before = torch.get_rng_state()
    assert draw(make(Numbered(4), prepare=threads, workers=2), 2) == [1] * 8
    assert torch.equal(torch.get_rng_state(), before)


def test_shuffling_is_as_good_as_random_for_numbered_sources():
    """The share of neighbors in file order that are neighbors again is that of random orders: 2 / n."""
    names = [int(name[1:]) for name in draw(make(Numbered(1000), batch_size=1000), 1)]
    again = sum(abs(a - b) == 1 for a, b in pairwise(names))
    random = list(range(1000))
    Random(0).shuffle(random)
    assert again <= 10
    assert sum(abs(a - b) == 1 for a, b in pairwise(random)) <= 10


@pytest.mark.parametrize(
    ("sources", "changes", "message"),
    [
        ([], {}, "needs a source"),
        ([(Numbered(3), 0.0)], {}, "Weight 0.0"),
        (Numbered(0), {}, "no samples"),
        (Pieces(()), {}, "no samples"),
        (Pieces((Piece(()),)), {}, "are empty"),
        (Numbered(3), {"batch_size": 0}, "batch_size=0"),
        (Numbered(3), {"broken_budget": -0.1}, "broken_budget=-0.1"),
    ],
)
def test_what_cannot_be_streamed_is_refused(sources, changes, message):
    with pytest.raises(ValueError, match=message):
        draw(make(sources, **changes), 1)
