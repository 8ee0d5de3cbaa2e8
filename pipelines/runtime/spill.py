"""What doesn't fit into memory: tables on disk, one Parquet file each, and SQL over them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

_ROWS_PER_GROUP = 100_000
_ROWS_READ = 10_000  # at a time: a map column of 2 GiB in one piece can't be read at all
_MEMORY = "2GB"  # what a query needs beyond it goes to disk


def spill(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> Path:
    """Write tables, one after the other, to a Parquet file; return its path."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in in_pieces(tables, _ROWS_PER_GROUP):
            writer.write_table(table)
    return path


def read_spilled(path: Path) -> Iterator[pa.Table]:
    """Yield a Parquet file's rows in order, some at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_READ):
            yield pa.Table.from_batches([batch])


def in_pieces(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the tables' rows in order, in pieces of so many; the last piece may be smaller."""
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
    """Return a connection that keeps to its memory and spills to a folder; close it after use."""
    return duckdb.connect(
        config={
            "memory_limit": _MEMORY,
            "temp_directory": str(folder / "duckdb"),
            "preserve_insertion_order": False,  # rows that are kept in order cost memory
        }
    )


def number(sql: duckdb.DuckDBPyConnection, query: str) -> int:
    """Return the one number that a query gives."""
    ((found,),) = sql.execute(query).fetchall()
    return int(found)


def view(sql: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Let SQL read a Parquet file by a name."""
    sql.read_parquet(str(path)).create_view(name)


def write(sql: duckdb.DuckDBPyConnection, query: str, path: Path) -> Path:
    """Write what a query gives to a Parquet file; return its path."""
    sql.sql(query).write_parquet(str(path), compression="zstd")
    return path
