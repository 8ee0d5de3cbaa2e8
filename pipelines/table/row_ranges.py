"""A model's rows in equal runs: what each of several shards of the service holds.

Shapes: F files.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

_FOOTERS = 16  # files whose numbers of rows are asked for at a time


@dataclass(frozen=True)
class Part:
    """One of several runs of a model's rows, all of the same size but for one row."""

    number: int
    """From 0."""
    parts: int

    def bounds(self, rows: int) -> tuple[int, int]:
        """Return the first row of this part, and the first one after it."""
        return rows * self.number // self.parts, rows * (self.number + 1) // self.parts


WHOLE = Part(0, 1)


def stream_part(
    dataset: pyarrow.dataset.Dataset, chosen: pc.Expression, columns: list[str], part: Part
) -> tuple[int, pa.RecordBatchReader]:
    """Return how many of the chosen rows are of a part, and these, batch by batch in the dataset's order.

    Files that hold none of them aren't read.
    """
    fragments = list(dataset.get_fragments(filter=chosen))
    with ThreadPoolExecutor(_FOOTERS) as pool:
        ends_F = np.cumsum(list(pool.map(lambda fragment: fragment.count_rows(), fragments)))
    first, last = part.bounds(int(ends_F[-1]) if fragments else 0)
    scanner = dataset.scanner(columns)
    if first == last:
        return 0, pa.RecordBatchReader.from_batches(scanner.projected_schema, [])
    low, high = np.searchsorted(ends_F, first, "right"), np.searchsorted(ends_F, last) + 1
    own = pyarrow.dataset.FileSystemDataset(
        fragments[low:high], dataset.schema, dataset.format, dataset.filesystem
    )
    skipped = first - (int(ends_F[low - 1]) if low else 0)
    batches = _cut(own.scanner(columns).to_batches(), skipped, last - first)
    return last - first, pa.RecordBatchReader.from_batches(scanner.projected_schema, batches)


def _cut(batches: Iterator[pa.RecordBatch], skipped: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows after some that are left out, as many as are asked for."""
    for batch in batches:
        kept = batch.slice(skipped, rows)
        skipped -= min(skipped, len(batch))
        rows -= len(kept)
        if len(kept):
            yield kept
        if not rows:
            return
