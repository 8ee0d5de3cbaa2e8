"""What answers say about chips, read by row: from a mapped file, and from the columns that filters read.

Shapes: N rows, M rows asked for.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.hamming.jit import UInt32s
from pipelines.hamming.row_filter import NO_TIME, Columns
from pipelines.index.cells import cells, values

ANSWER_COLUMNS = ["chip_id", "uri", "etag", "window", "bbox", "geometry", "datetime", "collection"]

ROW_COLUMNS = [*ANSWER_COLUMNS, "cut"]
"""What a row has. Answers show no chip spec, but it decides what a chip's picture is."""

FILE_COLUMNS = [name for name in ROW_COLUMNS if name not in ("bbox", "datetime", "collection")]
"""Columns of the file. Filters read the others, so the index has them as arrays already."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEP = 32
"""Ranks between two chip ids that are kept in memory, so that few of a search's steps read the file."""
_FEW = 100
"""Rows: up to so many are read sooner cell by cell."""


class Rows:
    """`ROW_COLUMNS` of each row."""

    def __init__(self, path: Path, order_N: UInt32s, columns: Columns, collections: Sequence[str]) -> None:
        """Open the file of `FILE_COLUMNS`; ``order_N`` lists the rows by chip id.

        ``collections``: their names, by the numbers in ``columns``.
        """
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            self._schema = reader.schema
            self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._starts = [0, *accumulate(len(batch) for batch in self._batches)]
        self._cells = {name: [cells(batch[name]) for batch in self._batches] for name in FILE_COLUMNS}
        self._chip_ids = self._cells["chip_id"]
        self._order = order_N.data  # its items are plain numbers, which are quicker than numpy's
        self._columns, self._collections = columns, collections
        self._signposts = [self._ranked(rank) for rank in range(0, len(self), _STEP)]

    def __len__(self) -> int:
        return self._starts[-1]

    def find(self, chip_id: str) -> int | None:
        """Return a chip's row, or None where the table has no such chip."""
        place = bisect_left(range(len(self)), chip_id, *self._around(chip_id), key=self._ranked)
        if place == len(self):
            return None
        row = self._order[place]
        return row if self.chip_id(row) == chip_id else None

    def rank_behind(self, chip_id: str) -> int:
        """Return how many chip ids come before this one, or are it; the id needn't be the table's."""
        return bisect_right(range(len(self)), chip_id, *self._around(chip_id), key=self._ranked)

    def _around(self, chip_id: str) -> tuple[int, int]:
        """Return between which ranks a chip id lies: the first, and the one behind the last."""
        passed = bisect_right(self._signposts, chip_id)
        return max(0, passed - 1) * _STEP, min(passed * _STEP, len(self))

    def _ranked(self, rank: int) -> str:
        """Return the chip id of a rank, in the order of chip ids."""
        return self.chip_id(self._order[rank])

    def first(self, count: int) -> list[int]:
        """Return the rows of the first chip ids, in their order."""
        return self._order[:count].tolist()

    def chip_id(self, row: int) -> str:
        """Return a row's chip id."""
        batch = bisect_right(self._starts, row) - 1
        chip_id: str = self._chip_ids[batch](row - self._starts[batch])
        return chip_id

    def _place(self, row: int) -> tuple[int, int]:
        """Return a row's batch, and its place there."""
        batch = bisect_right(self._starts, row) - 1
        return batch, row - self._starts[batch]

    def take(self, rows_M: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return `ROW_COLUMNS` of some rows, in their order."""
        columns = self.columns(rows_M, ROW_COLUMNS)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def columns(self, rows_M: NDArray[np.int64], names: Sequence[str]) -> dict[str, list[Any]]:
        """Return some of `ROW_COLUMNS` of some rows, each as a list in the order of the rows."""
        in_file = [name for name in names if name in self._cells]
        columns = self._many(rows_M, in_file) if len(rows_M) > _FEW else self._few(rows_M, in_file)
        return {name: columns[name] if name in columns else self._filtered(rows_M, name) for name in names}

    def _filtered(self, rows_M: NDArray[np.int64], name: str) -> list[Any]:
        """Return a column that filters read."""
        if name == "bbox":
            boxes = self._columns.boxes_N4[rows_M].tolist()
            return [tuple(box) if box[0] == box[0] else None for box in boxes]  # not equal: NaN
        if name == "datetime":
            return [_time(ticks) for ticks in self._columns.times_N[rows_M].tolist()]
        return [self._collections[number] for number in self._columns.collections_N[rows_M].tolist()]

    def _few(self, rows_M: NDArray[np.int64], names: Sequence[str]) -> dict[str, list[Any]]:
        """Return columns of the file, cell by cell."""
        places = [self._place(row) for row in rows_M.tolist()]
        columns = ((name, self._cells[name]) for name in names)
        return {name: [batches[batch](place) for batch, place in places] for name, batches in columns}

    def _many(self, rows_M: NDArray[np.int64], names: Sequence[str]) -> dict[str, list[Any]]:
        """Return what `_few` does, by Arrow's own way: it takes long to begin, and little for each row."""
        starts = np.array(self._starts)
        batches_M = np.searchsorted(starts, rows_M, side="right") - 1
        order_M = np.argsort(batches_M, kind="stable")
        back_M = pa.array(np.argsort(order_M))
        ends = np.searchsorted(batches_M[order_M], np.arange(len(starts))).tolist()
        taken = [
            (batch, pa.array(rows_M[order_M[first:end]] - start))
            for batch, start, (first, end) in zip(self._batches, self._starts, pairwise(ends), strict=False)
            if first < end
        ]
        return {
            name: values(pa.concat_arrays([batch[name].take(rows) for batch, rows in taken]).take(back_M))
            for name in names
        }

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a whole column of the file."""
        return pa.chunked_array([batch[name] for batch in self._batches], self._schema.field(name).type)


def _time(ticks: int) -> datetime | None:
    # arguments by name would take twice as long
    return None if ticks == NO_TIME else _EPOCH + timedelta(0, 0, ticks)
