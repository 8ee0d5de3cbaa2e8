"""The stream of units: few are open, whatever order their parts end in; those not wanted leave nothing."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from pipelines.encode import stream as streams
from pipelines.encode.shards import UnitResult
from pipelines.encode.stream import Stream
from pipelines.encode.usage import Usage

NO_REJECTS = pa.table({"uri": pa.array([], pa.string())})


@dataclass(eq=False)
class Job:
    uris: list[str]
    value: object = 0.5


@dataclass
class Workers:
    """Work that ends in a random order, some of it each time that the stream asks."""

    slots_: int = 4
    broken: str = ""
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    encoded: Counter = field(default_factory=Counter)
    most_open: int = 0
    is_closed: bool = False
    stalled: threading.Event = field(default_factory=threading.Event)

    def slots(self):
        return self.slots_

    def encode(self, objects):
        self.encoded.update(objects["uri"].to_pylist())
        return Job(objects["uri"].to_pylist())

    def write(self, parts):
        uris = [uri for part in parts for uri in part.uris]
        return Job(uris, UnitResult([], NO_REJECTS, uris, Usage()))

    def ended(self, running, seconds):
        assert len(running) <= self.slots_ + streams.OPEN_UNITS
        time.sleep(0.001)
        if self.stalled.is_set():
            return []
        return self.draw.sample(running, self.draw.randint(0, len(running)))

    def value(self, job):
        if self.broken in job.uris and self.broken:
            raise ValueError(self.broken)
        return job.value

    def close(self):
        self.is_closed = True


def units(sizes):
    start = 0
    for size in sizes:
        yield pa.table({"uri": [f"{number}" for number in range(start, start + size)], "etag": ["1"] * size})
        start += size


SIZES = [100, 1, 33, 500, 2, 2, 2, 64, 16, 17]


def test_each_unit_comes_once_and_whole(monkeypatch):
    workers, taken = Workers(), []
    with Stream(workers, discard=lambda result: pytest.fail("nothing is dropped")) as stream:
        stream.feed(units(SIZES))
        while not stream.is_exhausted:
            written = stream.take()
            assert len(stream.open_units()) < streams.OPEN_UNITS
            assert sorted(written.result.failed) == sorted(written.unit["uri"].to_pylist())
            taken.append(written)
            stream.release(written)
    assert workers.is_closed
    assert set(workers.encoded.values()) == {1}
    assert sorted(len(each.unit) for each in taken) == sorted(SIZES)
    assert sum(len(each.unit) for each in taken) == len(workers.encoded)


def test_no_more_units_are_begun_than_are_said(monkeypatch):
    workers = Workers(slots_=100)
    with Stream(workers, discard=lambda result: None) as stream:
        stream.feed(units([3] * 10))
        taken = [stream.take() for _ in range(streams.OPEN_UNITS)]
        time.sleep(0.1)
        assert len(workers.encoded) == 3 * streams.OPEN_UNITS, "none is released"
        stream.release(taken[0])
        stream.take()
        assert len(workers.encoded) == 3 * (streams.OPEN_UNITS + 1)


def test_what_is_dropped_is_discarded_and_the_rest_goes_on():
    workers, discarded, taken = Workers(), [], []
    with Stream(workers, discard=lambda result: discarded.extend(result.failed)) as stream:
        stream.feed(units([5] * 6))
        first = stream.take()
        stream.feed(())
        kept = stream.open_units()[:1]
        stream.drop(lambda unit: any(unit is each for each in kept))
        stream.feed(pa.table({"uri": [f"new {n}"], "etag": ["1"]}) for n in range(3))
        stream.release(first)
        while not stream.is_exhausted:
            taken.append(stream.take())
            stream.release(taken[-1])
    uris = {uri for each in taken for uri in each.result.failed}
    assert uris == {*kept[0]["uri"].to_pylist(), "new 0", "new 1", "new 2"}
    assert not uris & set(discarded)


def test_of_a_dropped_unit_that_is_being_written_nothing_is_left():
    workers, discarded = Workers(), []
    with Stream(workers, discard=lambda result: discarded.extend(result.failed)) as stream:
        stream.feed(units([1, 1]))
        first = stream.take()
        stream.feed(())
        while not any(each.written for each in stream._open if not each.is_taken):
            time.sleep(0.01)
        assert stream.drop(lambda unit: False) == 1
        assert len(discarded) == 1
        assert stream.is_exhausted
        stream.release(first)


def test_what_breaks_is_raised_where_units_are_taken():
    def take_all(stream):
        while True:
            stream.release(stream.take())

    with Stream(Workers(broken="7"), discard=lambda result: None) as stream:
        stream.feed(units([4, 4, 4]))
        with pytest.raises(ValueError, match="7"):
            take_all(stream)


def test_closing_waits_for_nothing():
    workers = Workers()
    workers.stalled.set()
    with Stream(workers, discard=lambda result: None) as stream:
        stream.feed(units([4] * 4))
        time.sleep(0.05)
    assert workers.is_closed


def test_tasks_grow_where_objects_are_quick_and_stay_small_where_they_are_slow(monkeypatch):
    sizes = {}
    for seconds in (0.001, 100.0):
        workers = Workers(slots_=1)
        encode = workers.encode
        seen = []

        def sized(objects, encode=encode, seen=seen, seconds=seconds):
            seen.append(len(objects))
            job = encode(objects)
            job.value = seconds * len(objects)
            return job

        workers.encode = sized
        with Stream(workers, discard=lambda result: None) as stream:
            stream.feed(units([5000]))
            stream.take()
        sizes[seconds] = max(seen)
    assert sizes[0.001] > 250
    assert sizes[100.0] == 16
