"""Tables that don't fit into memory: one Parquet file each. `database` has SQL over them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_ROWS_PER_GROUP = 100_000
_ROWS_READ = 10_000  # at a time: a map column of 2 GiB can't be read in one piece


def spill(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> Path:
    """Write tables one after the other to a Parquet file; return its path."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in in_pieces(tables, _ROWS_PER_GROUP):
            writer.write_table(table)
    return path


def read_spilled(path: Path) -> Iterator[pa.Table]:
    """Yield a Parquet file's rows in order, as tables of at most `_ROWS_READ` rows."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_READ):
            yield pa.Table.from_batches([batch])


def in_pieces(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the tables' rows in order, in pieces of ``rows`` rows; the last piece may be smaller."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += len(table)
        if count >= rows:
            joined = pa.concat_tables(held)
            whole = count - count % rows
            yield from (joined.slice(start, rows) for start in range(0, whole, rows))
            held, count = [joined.slice(whole)], count - whole
    if count:
        yield pa.concat_tables(held)
