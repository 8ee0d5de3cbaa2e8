"""A model's rows divided into equal ranges: each shard of the service holds one.

Shapes: F files.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

_FOOTERS = 16  # Parquet footers that are read at a time, for the number of rows


@dataclass(frozen=True)
class RowRange:
    """One of ``parts`` ranges of a model's rows, which differ in length by one row at most."""

    number: int
    """From 0 to ``parts`` - 1."""
    parts: int

    def bounds(self, rows: int) -> tuple[int, int]:
        """Return the first row of this range, and the first one after it, of ``rows`` rows in all."""
        return rows * self.number // self.parts, rows * (self.number + 1) // self.parts


ALL_ROWS = RowRange(0, 1)


def stream_range(
    dataset: pyarrow.dataset.Dataset, chosen: pc.Expression, columns: list[str], row_range: RowRange
) -> tuple[int, pa.RecordBatchReader]:
    """Return the number of rows in a range of the chosen rows, and a reader of them in the dataset's order.

    ``chosen`` selects whole files (fragments), such as those of one partition. Files without a row of the
    range aren't read.
    """
    fragments = list(dataset.get_fragments(filter=chosen))
    with ThreadPoolExecutor(_FOOTERS) as pool:
        ends_F = np.cumsum(list(pool.map(lambda fragment: fragment.count_rows(), fragments)))
    first, last = row_range.bounds(int(ends_F[-1]) if fragments else 0)
    scanner = dataset.scanner(columns)
    if first == last:
        return 0, pa.RecordBatchReader.from_batches(scanner.projected_schema, [])
    low, high = np.searchsorted(ends_F, first, "right"), np.searchsorted(ends_F, last) + 1
    own = pyarrow.dataset.FileSystemDataset(
        fragments[low:high], dataset.schema, dataset.format, dataset.filesystem
    )
    skipped = first - (int(ends_F[low - 1]) if low else 0)
    batches = _slice(own.scanner(columns).to_batches(), skipped, last - first)
    return last - first, pa.RecordBatchReader.from_batches(scanner.projected_schema, batches)


def _slice(batches: Iterator[pa.RecordBatch], skipped: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield ``rows`` rows after the first ``skipped`` ones."""
    for batch in batches:
        kept = batch.slice(skipped, rows)
        skipped -= min(skipped, len(batch))
        rows -= len(kept)
        if len(kept):
            yield kept
        if not rows:
            return
