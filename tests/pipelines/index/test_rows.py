"""Rows are what the file says, whether few or many are read, and chip ids are found as in a sorted list.

Shapes: N rows, M rows asked for.
"""

from bisect import bisect_right
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import TableError
from pipelines.hamming.jit import Int64s
from pipelines.index.records import Pieces, append, records_of
from pipelines.index.rows import ROW_COLUMNS, Rows
from pipelines.index.table_index import empty_columns, fill_columns
from pipelines.table.schema import FILE_SCHEMA

COUNT = 5000
BATCHES = (0, 1, 1300, 1300, 4000, COUNT)  # where each begins and ends: one is empty, one has one row


def value(name: str, row: int) -> object:
    """What a column has in a row; each column that may be null is in some rows."""
    if name in ("bbox", "geometry", "datetime") and row % 7 == 3:
        return None
    return {
        "window": (row, 1, 2, 3),
        "bbox": (row / 8, 0.0, row / 4, 1.5),
        "geometry": str(row).encode(),
        "valid_fraction": 1.0,
        "datetime": pa.scalar(row * 10**9, pa.timestamp("us", "UTC")).as_py(),
    }.get(name, f"{name}-{row * 7919 % COUNT:05}")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Rows of several batches, whose chip ids are in another order than they."""
    folder = tmp_path_factory.mktemp("rows")
    schema = pa.schema([FILE_SCHEMA.field(name) for name in (*ROW_COLUMNS, "valid_fraction")])
    columns, numbers = empty_columns(COUNT), dict[str, int]()
    whole = pa.record_batch(
        {name: [as_arrow(name, value(name, row)) for row in range(COUNT)] for name in schema.names}, schema
    )
    lengths: dict[str, list[Int64s]] = {"ids": [], "records": []}
    with (folder / "ids").open("wb") as ids, (folder / "records").open("wb") as records:
        for first, end in pairwise(BATCHES):
            batch = whole[first:end]  # slices: they begin in the midst of Arrow's buffers
            lengths["ids"].append(append(ids, batch["chip_id"]))
            lengths["records"].append(append(records, records_of(batch, "a table")))
            fill_columns(columns, slice(first, end), batch, numbers)
    pieces = []
    for name, parts in lengths.items():
        starts_N = np.cumsum(np.concatenate([np.zeros(1, np.int64), *parts]))
        assert (folder / name).stat().st_size == starts_N[-1]
        pieces.append(Pieces.open(folder / name, starts_N))
    order_N = np.argsort([value("chip_id", row) for row in range(COUNT)]).astype(np.uint32)
    return Rows(*pieces, order_N, columns, list(numbers))


def as_arrow(name: str, given: object) -> object:
    """A value as Arrow takes it: structs are dicts."""
    if not isinstance(given, tuple):
        return given
    return dict(zip((field.name for field in FILE_SCHEMA.field(name).type), given, strict=True))


@pytest.mark.parametrize("count", [0, 1, 2000])
def test_columns(rows: Rows, count: int) -> None:
    rows_M = np.random.default_rng(count).integers(0, COUNT, count)
    wanted = {name: [value(name, row) for row in rows_M.tolist()] for name in ROW_COLUMNS}
    assert rows.columns(rows_M, ROW_COLUMNS) == wanted


def test_chip_ids(rows: Rows) -> None:
    ids = {value("chip_id", row): row for row in range(COUNT)}
    assert {chip_id: rows.find(chip_id) for chip_id in ids} == ids
    others = ["", "chip_id-", "chip_id-00000x", "chip_id-02047x", "chip_id-04999x", "z"]
    assert [rows.find(other) for other in others] == [None] * len(others)
    in_order = sorted(ids)
    for chip_id in (*in_order[::97], *in_order[126:131], *in_order[-2:], *others):
        assert rows.rank_behind(chip_id) == bisect_right(in_order, chip_id)
    assert rows.first(3) == [ids[chip_id] for chip_id in in_order[:3]]


def test_a_text_with_a_nul_is_refused() -> None:
    names = ["uri", "etag", "cut"]
    schema = pa.schema([FILE_SCHEMA.field(name) for name in (*names, "window", "geometry")])
    window = {"x": 0, "y": 0, "w": 1, "h": 1}
    for bad in names:
        row = {name: "a\0b" if name == bad else "é" for name in names} | {"window": window}
        batch = pa.RecordBatch.from_pylist([row], schema)
        with pytest.raises(TableError, match="version 3 has a NUL"):
            records_of(batch, "version 3")
