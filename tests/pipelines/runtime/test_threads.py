"""Work in threads: all results, each item's in their order, nothing left at work."""

import threading
import time
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.runtime.threads import merged


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=6), st.integers(1, 4))
def test_all_results_come_those_of_an_item_in_its_order(lengths, threads):
    items = list(enumerate(lengths))
    came = defaultdict(list)
    for item, result in merged(lambda item: ((item[0], step) for step in range(item[1])), items, threads):
        came[item].append(result)
    assert came == {number: list(range(length)) for number, length in items if length}


def test_items_are_at_work_at_once():
    together = threading.Barrier(3, timeout=10)

    def work(item):
        together.wait()
        yield item

    assert sorted(merged(work, [1, 2, 3], 3)) == [1, 2, 3]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_error_is_raised_and_ends_the_others(error):
    def work(item):
        for step in range(1000):
            if item and step == 2:
                raise error("broken")
            yield step

    with pytest.raises(error, match="broken"):
        list(merged(work, [0, 1], 2))


def test_who_stops_early_leaves_nothing_at_work():
    before, made = threading.active_count(), []

    def work(item):
        for step in range(1000):
            made.append(step)
            yield item

    results = merged(work, [1, 2], 2)
    next(results)
    results.close()
    assert threading.active_count() == before
    count = len(made)
    time.sleep(0.3)
    assert len(made) == count <= 8
