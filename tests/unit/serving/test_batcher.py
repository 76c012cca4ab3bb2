import asyncio
import threading
import time
import weakref
from dataclasses import dataclass, field

import pytest

from foveal.serving.batcher import Batcher, QueueFullError
from foveal.serving.settings import Batching


@dataclass(frozen=True)
class Double:
    """Doubles numbers. 13 is poison; what it was called with is written down."""

    calls: list = field(default_factory=list, compare=False)
    gate: threading.Event | None = None

    def __call__(self, items):
        if self.gate is not None:
            self.gate.wait(10)
        self.calls.append(list(items))
        if 13 in items:
            raise ValueError("13 brings bad luck")
        return [2 * item for item in items]


@dataclass(frozen=True)
class Negate:
    def __call__(self, items):
        return [-item for item in items]


@pytest.fixture
def make():
    made = []

    def start(observe=lambda _: None, **options):
        made.append(Batcher(Batching(**options), observe))
        return made[-1]

    yield start
    for batcher in made:
        assert batcher.stop(10.0)


def held(batcher, work):
    """The batcher's thread, busy with one item until the gate opens."""
    first = batcher.submit(work, [0])
    while batcher.state().busy_seconds == 0:
        time.sleep(0.001)
    return first


def test_many_requests_share_batches_and_get_what_each_would_alone(make):
    batcher, work = make(wait_seconds=0.05, most=8), Double()

    async def ask():
        return await asyncio.gather(*(batcher.run(work, [n]) for n in range(20, 40)))

    assert asyncio.run(ask()) == [[2 * n] for n in range(20, 40)]
    assert [len(call) for call in work.calls] == [8, 8, 4]
    assert [item for call in work.calls for item in call] == list(range(20, 40))


def test_one_thread_runs_everything(make):
    seen = set()

    @dataclass(frozen=True)
    class Where:
        def __call__(self, items):
            seen.add(threading.get_ident())
            return items

    batcher = make(most=1)
    [future.result(10) for future in batcher.submit(Where(), range(5))]
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_different_works_never_share_a_batch_and_the_oldest_goes_first(make):
    gate = threading.Event()
    batcher, work = make(), Double(gate=gate)
    first = held(batcher, work)
    numbers = batcher.submit(work, [1, 2])
    others = batcher.submit(Negate(), [1, 2])
    more = batcher.submit(work, [3])
    gate.set()
    assert [future.result(10) for future in [*first, *numbers, *others, *more]] == [0, 2, 4, -1, -2, 6]
    assert work.calls == [[0], [1, 2, 3]]


def test_a_lone_request_waits_for_company_no_longer_than_told(make):
    batcher = make(wait_seconds=0.05)
    start = time.perf_counter()
    assert batcher.submit(Double(), [4])[0].result(10) == 8
    assert 0.04 < time.perf_counter() - start < 2


def test_a_full_batch_does_not_wait(make):
    batcher = make(wait_seconds=30.0, most=4)
    assert [future.result(10) for future in batcher.submit(Double(), range(4))] == [0, 2, 4, 6]


def test_poison_fails_only_itself(make):
    reports = []
    batcher = make(reports.append, wait_seconds=0.05)
    futures = batcher.submit(Double(), [1, 13, 3])
    assert futures[0].result(10) == 2
    assert futures[2].result(10) == 6
    with pytest.raises(ValueError, match="bad luck"):
        futures[1].result(10)
    assert batcher.stop(10.0)
    assert [(report.size, report.outcome) for report in reports] == [(3, "partly")]
    assert reports[0].error == "ValueError: 13 brings bad luck"


def test_the_thread_outlives_a_failing_batch(make):
    batcher = make()
    with pytest.raises(ValueError, match="bad luck"):
        batcher.submit(Double(), [13])[0].result(10)
    assert batcher.submit(Double(), [5])[0].result(10) == 10
    assert batcher.state().last.outcome == "ok"


def test_what_was_worked_on_is_held_no_longer(make):
    @dataclass(frozen=True)
    class Count:
        def __call__(self, items):
            return [0 for _ in items]

    batcher, item = make(), {1, 2, 3}
    gone = weakref.ref(item)
    future = batcher.submit(Count(), [item])[0]
    assert future.result(10) == 0
    del item, future
    until = time.monotonic() + 10
    while gone() is not None and time.monotonic() < until:
        time.sleep(0.001)
    assert gone() is None


def test_work_that_gives_too_little_is_an_error_not_a_mix_up(make):
    @dataclass(frozen=True)
    class Short:
        def __call__(self, items):
            return items[1:]

    for future in make(wait_seconds=0.05).submit(Short(), [1, 2]):
        with pytest.raises(RuntimeError, match="0 results for 1"):
            future.result(10)


def test_whoever_stops_waiting_costs_no_work(make):
    gate = threading.Event()
    batcher, work = make(), Double(gate=gate)
    first = held(batcher, work)

    async def give_up():
        async with asyncio.timeout(0.05):
            await batcher.run(work, [1, 2])

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    last = batcher.submit(work, [3])
    gate.set()
    assert [first[0].result(10), last[0].result(10)] == [0, 6]
    assert work.calls == [[0], [3]]
    assert batcher.state().queued == 0


def test_a_full_queue_refuses_all_or_nothing_and_says_when_to_come_back(make):
    gate = threading.Event()
    batcher, work = make(queue=3), Double(gate=gate)
    held(batcher, work)
    batcher.submit(work, [1, 2])
    with pytest.raises(QueueFullError) as refused:
        batcher.submit(work, [3, 4])
    assert refused.value.retry_after >= 1
    assert batcher.state().queued == 2
    assert batcher.submit(work, [3])
    gate.set()


def test_stopping_finishes_what_waits_and_takes_no_more(make):
    gate = threading.Event()
    batcher, work = make(), Double(gate=gate)
    futures = [*held(batcher, work), *batcher.submit(work, [1, 2, 3])]
    stopping = threading.Thread(target=batcher.stop)
    stopping.start()
    while batcher.state().running:
        time.sleep(0.001)
    with pytest.raises(QueueFullError):
        batcher.submit(work, [9])
    gate.set()
    stopping.join(10)
    assert [future.result(0) for future in futures] == [0, 2, 4, 6]
    assert not batcher.state().running


def test_stopping_in_too_little_time_cancels_what_waits(make):
    gate = threading.Event()
    batcher, work = make(most=1), Double(gate=gate)
    held(batcher, work)
    waiting = batcher.submit(work, [1])[0]
    assert not batcher.stop(0.02)
    assert waiting.cancelled()
    gate.set()


def test_batches_that_hold_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Batching(most=0)
