"""Many small shards into few large ones, in spatial order over all of them.

Memory: eight bytes for each of the rows of one commit, and the rows of one shard.
Shapes: N rows of all files together, R rows of one new shard.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from deltalake import DeltaTable

from pipelines.encode.shards import ROWS_PER_SHARD, spatial_key, write_shard
from pipelines.errors import ConflictError
from pipelines.schema import FILE_SCHEMA
from pipelines.table import CodeTable

log = structlog.get_logger()

_SMALL = ROWS_PER_SHARD // 2  # rows; what is fuller isn't worth rewriting
_ROWS_A_COMMIT = 8 * ROWS_PER_SHARD
_FILES_A_COMMIT = 500  # open at a time
_ATTEMPTS = 5


@dataclass(frozen=True)
class SmallFile:
    """A shard that is worth merging with others."""

    path: str
    """In the table's folder."""
    rows: int


def small_files(table: DeltaTable) -> dict[str, list[SmallFile]]:
    """Return the small shards, by model id, where there are two or more."""
    found: dict[str, list[SmallFile]] = {}
    for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        if (file["num_records"] or 0) < _SMALL:
            small = SmallFile(unquote(file["path"]), file["num_records"] or 0)
            found.setdefault(file["partition.model_id"], []).append(small)
    return {model: files for model, files in sorted(found.items()) if len(files) > 1}


def compact(table: CodeTable) -> int:
    """Merge the small shards of each model; return how many went.

    Safe beside a running night: a commit that meets another one's change of the same files is thrown away,
    and planned again. Raises ConflictError where that happens time and again.
    """
    merged, conflicts = 0, 0
    while True:
        group = next(_groups(small_files(table.open())), None)
        if group is None:
            return merged
        model_id, paths = group
        try:
            _merge(table, model_id, paths)
        except ConflictError as conflict:
            conflicts += 1
            log.warning("compaction: planning again", reason=str(conflict))
            if conflicts == _ATTEMPTS:
                raise ConflictError(
                    f"{table.uri} is changed all the time; run jobs.maintain when no other job does"
                ) from conflict
        else:
            merged += len(paths)
            log.info("compacted", model_id=model_id, shards=len(paths))


def _groups(small: dict[str, list[SmallFile]]) -> Iterator[tuple[str, list[str]]]:
    """Yield files that are merged in one commit."""
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
    filesystem, root = table.store.arrow_filesystem(table.uri)
    files = [pq.ParquetFile(f"{root}/{path}", filesystem=filesystem) for path in paths]
    try:
        order_N = np.argsort(np.concatenate([_keys(file) for file in files]), kind="stable")
        shards = [
            write_shard(
                table.uri, table.store, model_id, _take(files, order_N[start : start + ROWS_PER_SHARD])
            )
            for start in range(0, len(order_N), ROWS_PER_SHARD)
        ]
    finally:
        for file in files:
            file.close()
    table.replace_files(paths, shards, model_id, {"maintenance": "compaction"})


def _keys(file: pq.ParquetFile) -> np.ndarray:
    """Return where each row lies on the curve, reading a row group at a time."""
    groups = range(file.metadata.num_row_groups)
    keys = [spatial_key(file.read_row_group(group, ["bbox.xmin", "bbox.ymin"])["bbox"]) for group in groups]
    return np.concatenate([np.empty(0, np.int64), *keys])


def _take(files: Sequence[pq.ParquetFile], rows_R: np.ndarray) -> pa.Table:
    """Return rows, counted over all files, in this order; only the row groups that hold them are read."""
    sorted_R = np.sort(rows_R)
    parts, start = [], 0
    for file in files:
        for group in range(file.metadata.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            first, last = np.searchsorted(sorted_R, [start, end])
            if first < last:
                rows = file.read_row_group(group).select(FILE_SCHEMA.names).cast(FILE_SCHEMA)
                parts.append(rows.take(pa.array(sorted_R[first:last] - start)))
            start = end
    return pa.concat_tables(parts).take(pa.array(np.searchsorted(sorted_R, rows_R)))
