"""Portions and parcels: all objects once, in order, with their chips; units end where they end."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import StoreConfig
from pipelines.encode.chips import CHIP
from pipelines.encode.pace import FIRST_OBJECTS, next_size
from pipelines.encode.parcels import (
    BATCHES,
    chips_of,
    encoded_parcel,
    label_of,
    objects_of,
    portions,
    read_portion,
    rows_of,
)
from pipelines.encode.usage import Cost
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.store import Store

SPECS = ChipSpecs(ChipSpec(Grid(16), PixelSpec((1, 2, 3))))
OBJECTS = 23


@pytest.fixture
def store():
    return Store(StoreConfig())


@pytest.fixture
def plan(store, tmp_path, geotiff):
    """A plan of objects of four chips each, one of which is broken."""
    for number in range(OBJECTS):
        pixels_HWC = np.random.default_rng(number).integers(1, 255, (32, 32, 3), np.uint8)
        store.write(f"{tmp_path}/scenes/{number:02}.tif", geotiff(pixels_HWC))
    store.write(f"{tmp_path}/scenes/11.tif", b"broken")
    listed = sorted(store.list(f"{tmp_path}/scenes"), key=lambda info: info.uri)
    columns = {"uri": [info.uri for info in listed], "etag": [info.etag for info in listed]}
    pq.write_table(pa.table(columns | {"collection": ["c"] * OBJECTS}), tmp_path / "plan.parquet")
    return tmp_path / "plan.parquet"


def first_bytes(chips_NHWC):
    """Codes that show which chip they are of."""
    return np.ascontiguousarray(chips_NHWC.reshape(len(chips_NHWC), -1)[:, :8])


def test_all_chips_of_all_objects_come_once_with_their_codes(plan, store):
    rows, labels, sizes = [], [], itertools.cycle([3, 1, 5])
    for portion in portions(plan, 10, sizes):
        for parcel in read_portion(portion, SPECS, store, batch_size=2):
            chips_NHWC = chips_of(parcel, (16, 16, 3))
            assert len(chips_NHWC) <= 2 * BATCHES
            codes_NY = first_bytes(chips_NHWC) if len(chips_NHWC) else None
            encoded = encoded_parcel(parcel, codes_NY, Cost(1.0, 2.0), 0.5)
            assert len(encoded) == 1
            labels.append(label_of(encoded))
            rows += rows_of(encoded).to_pylist()
    uris = pq.read_table(plan)["uri"].to_pylist()
    assert list(dict.fromkeys(row["uri"] for row in rows)) == uris
    assert sum(row["outcome"] == CHIP for row in rows) == 4 * (OBJECTS - 1)
    for row in rows:
        assert (row["code"] is not None) == (row["outcome"] == CHIP)
    assert len({row["code"] for row in rows}) == 4 * (OBJECTS - 1) + 1
    assert [label.unit for label in labels if label.ends_unit] == [0, 1, 2]
    assert [label.unit for label in labels] == sorted(label.unit for label in labels)
    assert sum(label.objects for label in labels) == OBJECTS
    assert sum(row["gpu_seconds"] for row in rows) == 2.0 * len(labels)
    assert sum(row["cpu_seconds"] for row in rows) >= len(labels)


def test_chips_are_not_copied(plan, store):
    portion = next(portions(plan, 10, itertools.repeat(4)))
    (parcel,) = read_portion(portion, SPECS, store, batch_size=32)
    buffer = parcel["chips"].chunk(0).buffers()[2]
    assert chips_of(parcel, (16, 16, 3)).ctypes.data == buffer.address
    twice = pa.concat_tables([parcel, parcel]).combine_chunks().slice(1)
    assert np.array_equal(chips_of(twice, (16, 16, 3)), chips_of(parcel, (16, 16, 3)))


def test_portions_never_cross_units(plan):
    found = [
        (portion["unit"][0].as_py(), objects_of(portion)["uri"].to_pylist())
        for portion in portions(plan, 10, itertools.repeat(4))
    ]
    assert [len(uris) for _, uris in found] == [4, 4, 2, 4, 4, 2, 3]
    assert [unit for unit, _ in found] == [0, 0, 0, 1, 1, 1, 2]


@settings(deadline=None)
@given(st.floats(1e-9, 1e4))
def test_portions_get_the_size_that_takes_as_long_as_wanted(seconds_per_object):
    size = FIRST_OBJECTS
    for _ in range(20):
        size = next_size(size, seconds_per_object)
    assert abs(size - min(max(2 / seconds_per_object, 1), 512)) <= 1
