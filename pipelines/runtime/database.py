"""SQL over tables that don't fit into memory (`spill`): DuckDB with bounded memory."""

from pathlib import Path

import duckdb

_MEMORY = "2GB"  # of a query; beyond it the database writes to disk


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
