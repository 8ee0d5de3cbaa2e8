"""Merges many small shards into few large ones, in spatial order over all of them.

Memory: one new shard, and some 32 bytes for each row of one commit (`pipelines.table.sorting`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from deltalake import DeltaTable

from pipelines.errors import ConflictError
from pipelines.table.code_table import CodeTable
from pipelines.table.conflicts import Conflicts
from pipelines.table.schema import FILE_SCHEMA
from pipelines.table.shard_files import BYTES_PER_SHARD, ROWS_PER_SHARD, write_shards
from pipelines.table.sorting import spatially_sorted

log = structlog.get_logger()

_SMALL = ROWS_PER_SHARD // 2  # rows; a shard with more isn't worth rewriting
_SMALL_BYTES = BYTES_PER_SHARD // 2  # nor is a larger one, however few rows it has
_ROWS_A_COMMIT = 8 * ROWS_PER_SHARD
_FILES_A_COMMIT = 500
_ROWS_READ = 10_000  # of a file, that are in memory at a time
_ATTEMPTS = 5  # of one commit


@dataclass(frozen=True)
class SmallFile:
    """A shard that is worth merging with others."""

    path: str
    """Relative to the table's folder."""
    rows: int


def small_files(table: DeltaTable) -> dict[str, list[SmallFile]]:
    """Return the small shards of each model that has two or more, by model id."""
    found: dict[str, list[SmallFile]] = {}
    for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        if (file["num_records"] or 0) < _SMALL and file["size_bytes"] < _SMALL_BYTES:
            small = SmallFile(unquote(file["path"]), file["num_records"] or 0)
            found.setdefault(file["partition.model_id"], []).append(small)
    return {model: files for model, files in sorted(found.items()) if len(files) > 1}


def compact(table: CodeTable) -> int:
    """Merge the small shards of each model; return how many were merged.

    Safe beside a running night: if another commit has changed the same files, the work is dropped and planned
    again. Raises ConflictError if that happens `_ATTEMPTS` times in a row.
    """
    merged, conflicts = 0, Conflicts(_ATTEMPTS)
    while True:
        group = next(_groups(small_files(table.open())), None)
        if group is None:
            return merged
        model_id, paths = group
        try:
            _merge(table, model_id, paths)
        except ConflictError as conflict:
            conflicts.wait(
                conflict, f"{table.uri} is changed all the time; run jobs.maintain when no other job does"
            )
        else:
            conflicts.reset()
            merged += len(paths)
            log.info("compacted", model_id=model_id, shards=len(paths))


def _groups(small: dict[str, list[SmallFile]]) -> Iterator[tuple[str, list[str]]]:
    """Yield groups of files, each of one model and merged in one commit."""
    for model_id, files in small.items():
        paths: list[str] = []
        rows = 0
        for file in sorted(files, key=lambda file: file.rows):
            if len(paths) >= 2 and (rows + file.rows > _ROWS_A_COMMIT or len(paths) == _FILES_A_COMMIT):
                yield model_id, paths
                paths, rows = [], 0
            paths.append(file.path)
            rows += file.rows
        if len(paths) > 1:
            yield model_id, paths


def _merge(table: CodeTable, model_id: str, paths: list[str]) -> None:
    with TemporaryDirectory(prefix="scenehash-compaction-") as folder:
        pieces = spatially_sorted(_rows(table, paths), FILE_SCHEMA, Path(folder))
        shards = write_shards(table.uri, table.store, model_id, pieces)
    try:
        table.replace_files(paths, shards, model_id, {"maintenance": "compaction"})
    except ConflictError:
        table.discard(shards)
        raise


def _rows(table: CodeTable, paths: list[str]) -> Iterator[pa.Table]:
    """Yield the rows of files, as tables of at most `_ROWS_READ` rows."""
    folder = table.store.arrow_folder(table.uri)
    for path in paths:
        with pq.ParquetFile(folder.open_input_file(path)) as file:
            for batch in file.iter_batches(_ROWS_READ):
                # files that Delta itself has rewritten have other types of text
                yield pa.Table.from_batches([batch]).select(FILE_SCHEMA.names).cast(FILE_SCHEMA)
