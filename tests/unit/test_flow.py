import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.flow import batched, in_order


@given(st.lists(st.integers()), st.integers(1, 9))
def test_batches_are_full_but_for_the_last_and_hold_all_in_order(items, size):
    batches = list(batched(iter(items), size))
    assert [item for batch in batches for item in batch] == items
    assert {len(batch) for batch in batches[:-1]} <= {size}
    assert all(1 <= len(batch) <= size for batch in batches)


def test_batches_take_no_more_items_than_they_hold():
    items = iter(range(9))
    assert next(batched(items, 4)) == [0, 1, 2, 3]
    assert next(items) == 4


@pytest.mark.parametrize("ahead", [1, 20])
def test_results_come_in_order_with_a_bounded_number_under_way(ahead):
    taken = []

    def counted():
        for number in range(100):
            taken.append(number)
            yield number

    def slow(number):
        time.sleep(random.Random(number).uniform(0, 0.002))
        return -number

    results = []
    for result in in_order(ThreadPoolExecutor(4), slow, counted(), ahead):
        results.append(result)
        assert len(taken) <= len(results) - 1 + ahead
    assert results == [-number for number in range(100)]


def test_work_goes_on_while_a_result_is_used():
    both = threading.Barrier(2, timeout=5)

    def meet(_):
        both.wait()  # the first item waits for the second: alone it would never be done
        return True

    assert list(in_order(ThreadPoolExecutor(2), meet, range(2), ahead=2)) == [True, True]


@pytest.mark.parametrize(("wanted", "stops"), [(3, 1), (10, 0)])
def test_a_flow_that_is_left_before_its_end_says_so_once(wanted, stops):
    calls = []
    flow = in_order(ThreadPoolExecutor(2), int, map(str, range(9)), ahead=2, stop=lambda: calls.append(1))
    assert [next(flow, None) for _ in range(wanted)] == [*range(9), None][:wanted]
    flow.close()
    assert len(calls) == stops


def test_work_that_fails_ends_the_flow_and_its_pool():
    pool, calls = ThreadPoolExecutor(2), []
    flow = in_order(pool, int, ["1", "no number", "3"], ahead=2, stop=lambda: calls.append(1))
    assert next(flow) == 1
    with pytest.raises(ValueError, match="no number"):
        list(flow)
    assert calls == [1]
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int, "4")
