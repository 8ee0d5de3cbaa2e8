"""The stream of units: few are open, in order; dropped ones leave nothing; what comes twice is left out."""

import itertools
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from pipelines.encode import stream as streams
from pipelines.encode.parcels import Label
from pipelines.encode.shards import UnitResult
from pipelines.encode.stream import Stream
from pipelines.encode.usage import Usage

NO_REJECTS = pa.table({"uri": pa.array([], pa.string())})
SIZES = [100, 1, 33, 500, 2, 2, 2, 64, 16, 17]


def units(sizes):
    ends = list(itertools.accumulate(sizes))
    for start, end in zip([0, *ends], ends, strict=False):
        yield pa.table({"uri": [f"{number}" for number in range(start, end)], "etag": ["1"] * (end - start)})


def parcels_of(sizes, most=10):
    """Parcels of at most ``most`` objects of each unit: label, uris."""
    for number, unit in enumerate(units(sizes)):
        uris = unit["uri"].to_pylist()
        for begin in range(0, len(uris), most):
            some = uris[begin : begin + most]
            yield Label(number, begin + most >= len(uris), len(some), 0.1, 0.1), some


@dataclass
class Execution:
    """Gives out parcels; writes as soon as it is waited for, or as soon as ``quick`` says."""

    given: list
    quick: bool = True
    taken: list = field(default_factory=list)
    is_closed: bool = False

    def parcels(self):
        for label, uris in self.given:
            self.taken.append(label)
            yield label, uris

    def write(self, unit, parcels):
        uris = [uri for parcel in parcels for uri in parcel]
        return UnitResult([], NO_REJECTS, uris, Usage())

    def is_written(self, writing):
        return self.quick

    def written(self, writing):
        return writing

    def close(self):
        self.is_closed = True


def stream_of(execution, sizes=SIZES, discard=lambda result: pytest.fail("nothing is dropped")):
    return Stream(units(sizes), execution, discard)


def take_all(stream):
    return list(iter(stream.take, None))


@pytest.mark.parametrize("quick", [True, False])
def test_each_unit_comes_once_whole_and_in_order(quick):
    execution = Execution(list(parcels_of(SIZES)), quick)
    stream = stream_of(execution)
    taken = take_all(stream)
    assert [each.unit.to_pydict() for each in taken] == [each.to_pydict() for each in units(SIZES)]
    assert all(each.result.failed == each.unit["uri"].to_pylist() for each in taken)
    assert stream.close(discard=True) == 0
    assert execution.is_closed


@pytest.mark.parametrize("open_units", [1, 2, 3])
def test_no_more_units_are_begun_than_are_said(monkeypatch, open_units):
    monkeypatch.setattr(streams, "OPEN_UNITS", open_units)
    execution = Execution(list(parcels_of(SIZES)), quick=False)
    stream = stream_of(execution)
    for committed, _ in enumerate(iter(stream.take, None)):
        begun = {label.unit for label in execution.taken}
        assert len(begun) <= committed + open_units
    assert committed + 1 == len(SIZES)


def test_a_written_unit_doesnt_wait_for_the_next_one_to_end():
    execution = Execution(list(parcels_of([1, 500])))
    stream = stream_of(execution, [1, 500])
    stream.take()
    assert len(execution.taken) <= 2


def test_of_what_is_closed_early_nothing_is_left(monkeypatch):
    discarded = []
    execution = Execution(list(parcels_of([5] * 6)), quick=False)
    stream = stream_of(execution, [5] * 6, lambda result: discarded.extend(result.failed))
    first = stream.take()
    written = {label.unit for label in execution.taken} - {0}
    assert stream.close(discard=True) == 5 * len(written) == len(discarded)
    assert not set(discarded) & set(first.result.failed)
    assert stream.take() is None
    assert execution.is_closed


def test_what_breaks_is_raised_where_units_are_taken():
    class Broken(Execution):
        def parcels(self):
            yield from super().parcels()
            raise ValueError("7")

    with pytest.raises(ValueError, match="7"):
        take_all(stream_of(Broken(list(parcels_of([4, 4])))))


def test_what_a_repeated_task_yields_behind_the_end_of_its_unit_is_left_out():
    given = list(parcels_of([30, 30]))
    taken = take_all(stream_of(Execution([*given[:3], given[2], *given[3:]]), [30, 30]))
    assert Counter(uri for each in taken for uri in each.result.failed) == Counter(map(str, range(60)))


@pytest.mark.parametrize("lost", [2, 5, (0, 1, 2), (3, 4, 5), (2, 3, 4, 5)])
def test_a_unit_whose_last_parcel_is_lost_is_written_without_it(lost):
    sizes = [30, 30, 30]
    given = list(parcels_of(sizes))
    lost = lost if isinstance(lost, tuple) else (lost,)
    kept = [each for number, each in enumerate(given) if number not in lost]
    taken = take_all(stream_of(Execution(kept), sizes))
    assert [len(each.unit) for each in taken] == sizes
    for number, each in enumerate(taken):
        assert each.result.failed == [uri for label, uris in kept if label.unit == number for uri in uris]
