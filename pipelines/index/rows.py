"""What answers say about chips, read by row: ids, records, and the columns that filters read.

Shapes: N rows, M rows asked for.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.hamming.jit import UInt32s
from pipelines.hamming.row_filter import NO_TIME, Columns
from pipelines.index.records import COLUMNS, Pieces, columns_of

ANSWER_COLUMNS = ["chip_id", "uri", "etag", "window", "bbox", "geometry", "datetime", "collection"]

ROW_COLUMNS = [*ANSWER_COLUMNS, "cut"]
"""What a row has. Answers show no chip spec, but it decides what a chip's picture is."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BOX = Struct("4d")
_STEP = 32
"""Ranks between two chip ids that are kept in memory, so that few of a search's steps read the file."""


class Rows:
    """`ROW_COLUMNS` of each row."""

    def __init__(
        self,
        ids: Pieces,
        records: Pieces,
        order_N: UInt32s,
        columns: Columns,
        collections: Sequence[str],
    ) -> None:
        """``order_N``: the rows, by chip id; ``collections``: names, by their numbers in ``columns``."""
        self._ids, self._records = ids, records
        # memoryviews: their items are plain numbers, which are quicker than numpy's
        self._order, self._boxes = order_N.data, columns.boxes_N4.data
        self._times, self._numbers = columns.times_N.data, columns.collections_N.data
        self._collections = collections
        self._signposts = [self._ranked(rank) for rank in range(0, len(self), _STEP)]

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, chip_id: str) -> int | None:
        """Return a chip's row, or None where the table has no such chip."""
        wanted = chip_id.encode()
        place = bisect_left(range(len(self)), wanted, *self._around(wanted), key=self._ranked)
        if place == len(self):
            return None
        row: int = self._order[place]
        return row if self._ids[row] == wanted else None

    def rank_behind(self, chip_id: str) -> int:
        """Return how many chip ids come before this one, or are it; the id needn't be the table's."""
        given = chip_id.encode()
        return bisect_right(range(len(self)), given, *self._around(given), key=self._ranked)

    def _around(self, chip_id: bytes) -> tuple[int, int]:
        """Return between which ranks a chip id lies: the first, and the one behind the last."""
        passed = bisect_right(self._signposts, chip_id)
        return max(0, passed - 1) * _STEP, min(passed * _STEP, len(self))

    def _ranked(self, rank: int) -> bytes:
        """Return the chip id of a rank, in the order of chip ids: as UTF-8, whose order is the same."""
        row, starts = self._order[rank], self._ids.starts
        return self._ids.content[starts[row] : starts[row + 1]]

    def first(self, count: int) -> list[int]:
        """Return the rows of the first chip ids, in their order."""
        return self._order[:count].tolist()

    def chip_id(self, row: int) -> str:
        """Return a row's chip id."""
        return str(self._ids[row], "utf-8")

    def ids(self, rows_M: NDArray[np.int64]) -> pa.Array:
        """Return the chip ids of some rows, in their order, as Arrow's texts: without a string for each."""
        buffers = [None, pa.py_buffer(self._ids.starts), pa.py_buffer(self._ids.content)]
        return pa.Array.from_buffers(pa.large_string(), len(self), buffers).take(pa.array(rows_M))

    def take(self, rows_M: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return `ROW_COLUMNS` of some rows, in their order."""
        columns = self.columns(rows_M, ROW_COLUMNS)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def columns(self, rows_M: NDArray[np.int64], names: Sequence[str]) -> dict[str, list[Any]]:
        """Return some of `ROW_COLUMNS` of some rows, each as a list in the order of the rows."""
        columns = columns_of(self._records, rows_M, [name for name in names if name in COLUMNS])
        rows = rows_M.tolist()
        return {name: columns[name] if name in columns else self._others(rows, name) for name in names}

    def outlines(self, rows_M: NDArray[np.int64]) -> list[bytes | None]:
        """Return the outlines of some rows as WKB, in their order; None where a row has none."""
        return self.columns(rows_M, ["geometry"])["geometry"]

    def _others(self, rows: list[int], name: str) -> list[Any]:
        """Return a column that isn't in the records."""
        if name == "chip_id":
            content, starts = self._ids.content, self._ids.starts
            return [str(content[starts[row] : starts[row + 1]], "utf-8") for row in rows]
        if name == "bbox":
            boxes = [_BOX.unpack_from(self._boxes, _BOX.size * row) for row in rows]
            return [box if box[0] == box[0] else None for box in boxes]  # not equal: NaN
        if name == "datetime":
            return [_time(self._times[row]) for row in rows]
        return [self._collections[self._numbers[row]] for row in rows]


def _time(ticks: int) -> datetime | None:
    # arguments by name would take twice as long
    return None if ticks == NO_TIME else _EPOCH + timedelta(0, 0, ticks)
