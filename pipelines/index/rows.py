"""What answers say of chips, mapped from a file: any row, in no time, and not in memory.

Shapes: N rows, M rows asked for.
"""

from bisect import bisect_left
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.index.selection import UInt32s

ANSWER_COLUMNS = ["chip_id", "uri", "etag", "window", "bbox", "geometry", "datetime", "collection"]


class Rows:
    """`ANSWER_COLUMNS` of each row, mapped from a file."""

    def __init__(self, path: Path, order_N: UInt32s) -> None:
        """Open the file; ``order_N`` lists the rows by chip id."""
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            self._schema = reader.schema
            self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._starts = np.cumsum([0, *(len(batch) for batch in self._batches)])
        self._order_N = order_N

    def __len__(self) -> int:
        return int(self._starts[-1])

    def find(self, chip_id: str) -> int | None:
        """Return a chip's row, or None where the table has no such chip."""
        place = bisect_left(
            range(len(self)), chip_id, key=lambda rank: self.chip_id(int(self._order_N[rank]))
        )
        if place == len(self):
            return None
        row = int(self._order_N[place])
        return row if self.chip_id(row) == chip_id else None

    def chip_id(self, row: int) -> str:
        """Return a row's chip id."""
        batch = int(np.searchsorted(self._starts, row, "right")) - 1
        chip_id: str = self._batches[batch]["chip_id"][row - int(self._starts[batch])].as_py()
        return chip_id

    def take(self, rows_M: NDArray[np.int64]) -> pa.Table:
        """Return some rows, in their order."""
        batch_M = np.searchsorted(self._starts, rows_M, "right") - 1
        order_M = np.argsort(batch_M, kind="stable")
        parts = []
        for number in np.unique(batch_M).tolist():
            offsets = rows_M[batch_M == number] - self._starts[number]
            parts.append(self._batches[number].take(pa.array(offsets)))
        places_M = np.empty(len(rows_M), np.int64)
        places_M[order_M] = np.arange(len(rows_M))
        return pa.Table.from_batches(parts, self._schema).take(pa.array(places_M))

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a whole column."""
        return pa.chunked_array([batch[name] for batch in self._batches], self._schema.field(name).type)
