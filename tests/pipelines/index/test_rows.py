"""Rows are what the file says, whether few or many are read, and chip ids are found as in a sorted list.

Shapes: N rows, M rows asked for.
"""

from bisect import bisect_right
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from pipelines.index import rows as module
from pipelines.index.rows import FILE_COLUMNS, ROW_COLUMNS, Rows
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
    path = tmp_path_factory.mktemp("rows") / "rows.arrow"
    schema = pa.schema([FILE_SCHEMA.field(name) for name in (*ROW_COLUMNS, "valid_fraction")])
    in_file = pa.schema([FILE_SCHEMA.field(name) for name in FILE_COLUMNS])
    columns, numbers = empty_columns(COUNT), dict[str, int]()
    with pa.ipc.new_file(str(path), in_file) as file:
        for first, end in pairwise(BATCHES):
            batch = pa.record_batch(
                {
                    name: [as_arrow(name, value(name, row)) for row in range(first, end)]
                    for name in schema.names
                },
                schema,
            )
            file.write_batch(batch.select(FILE_COLUMNS))
            fill_columns(columns, slice(first, end), batch, numbers)
    order_N = np.argsort([value("chip_id", row) for row in range(COUNT)]).astype(np.uint32)
    return Rows(path, order_N, columns, list(numbers))


def as_arrow(name: str, given: object) -> object:
    """A value as Arrow takes it: structs are dicts."""
    if not isinstance(given, tuple):
        return given
    return dict(zip((field.name for field in FILE_SCHEMA.field(name).type), given, strict=True))


@pytest.mark.parametrize("count", [0, 1, module._FEW, module._FEW + 1, 2000])
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
