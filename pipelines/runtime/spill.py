"""Tables that don't fit into memory: one Parquet file each, and SQL over them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

_ROWS_PER_GROUP = 100_000
_ROWS_READ = 10_000  # at a time: a map column of 2 GiB can't be read in one piece
_MEMORY = "2GB"  # of a query; beyond it the database writes to disk


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


def database(folder: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection with bounded memory that spills to a folder; close it after use."""
    return duckdb.connect(
        config={
            "memory_limit": _MEMORY,
            "temp_directory": str(folder / "duckdb"),
            "preserve_insertion_order": False,  # to keep rows in order would cost memory
        }
    )


def number(sql: duckdb.DuckDBPyConnection, query: str) -> int:
    """Return the result of a query that gives one number."""
    ((found,),) = sql.execute(query).fetchall()
    return int(found)


def view(sql: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Make a Parquet file a view of the database, by this name."""
    sql.read_parquet(str(path)).create_view(name)


def write(sql: duckdb.DuckDBPyConnection, query: str, path: Path) -> Path:
    """Write the result of a query to a Parquet file; return its path."""
    sql.sql(query).write_parquet(str(path), compression="zstd")
    return path
