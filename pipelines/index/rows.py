"""What answers say about chips, read by row from a mapped file.

Shapes: N rows, M rows asked for.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.hamming.jit import UInt32s
from pipelines.index.cells import cells

ANSWER_COLUMNS = ["chip_id", "uri", "etag", "window", "bbox", "geometry", "datetime", "collection"]

ROW_COLUMNS = [*ANSWER_COLUMNS, "cut"]
"""Columns of the file. Answers show no chip spec, but it decides what a chip's picture is."""


class Rows:
    """`ROW_COLUMNS` of each row, mapped from a file."""

    def __init__(self, path: Path, order_N: UInt32s) -> None:
        """Open the file; ``order_N`` lists the rows by chip id."""
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            self._schema = reader.schema
            self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._starts = [0, *accumulate(len(batch) for batch in self._batches)]
        self._cells = {name: [cells(batch[name]) for batch in self._batches] for name in ROW_COLUMNS}
        self._chip_ids = self._cells["chip_id"]
        self._order_N = order_N

    def __len__(self) -> int:
        return self._starts[-1]

    def find(self, chip_id: str) -> int | None:
        """Return a chip's row, or None where the table has no such chip."""
        place = bisect_left(
            range(len(self)), chip_id, key=lambda rank: self.chip_id(int(self._order_N[rank]))
        )
        if place == len(self):
            return None
        row = int(self._order_N[place])
        return row if self.chip_id(row) == chip_id else None

    def rank_behind(self, chip_id: str) -> int:
        """Return how many chip ids come before this one, or are it; the id needn't be the table's."""
        return bisect_right(
            range(len(self)), chip_id, key=lambda rank: self.chip_id(int(self._order_N[rank]))
        )

    def first(self, count: int) -> list[int]:
        """Return the rows of the first chip ids, in their order."""
        rows: list[int] = self._order_N[:count].tolist()
        return rows

    def chip_id(self, row: int) -> str:
        """Return a row's chip id."""
        batch = bisect_right(self._starts, row) - 1
        chip_id: str = self._chip_ids[batch](row - self._starts[batch])
        return chip_id

    def take(self, rows_M: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return `ROW_COLUMNS` of some rows, in their order."""
        columns = self.columns(rows_M, ROW_COLUMNS)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def columns(self, rows_M: NDArray[np.int64], names: Sequence[str]) -> dict[str, list[Any]]:
        """Return some of `ROW_COLUMNS` of some rows, each as a list in the order of the rows."""
        starts = self._starts
        places = [(bisect_right(starts, row) - 1, row) for row in rows_M.tolist()]
        return {
            name: [self._cells[name][batch](row - starts[batch]) for batch, row in places] for name in names
        }

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a whole column."""
        return pa.chunked_array([batch[name] for batch in self._batches], self._schema.field(name).type)
