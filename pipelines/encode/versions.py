"""Which versions of which objects a table holds, in which files; and how rows of old versions are removed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from pipelines.errors import ConflictError
from pipelines.runtime.spill import spill
from pipelines.runtime.threads import mapped_ahead
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable, Shard, files_of
from pipelines.table.schema import FILE_SCHEMA
from pipelines.table.shard_files import write_shards
from pipelines.table.sorting import in_bounded_pieces

_READS = 4  # files that are read at a time: each may hold a million rows
_ROWS_READ = 10_000  # of a file, that are in memory at a time with all their columns

_REJECTED = ("uri", "etag", "cut")
_ENCODED = (*_REJECTED, "collection")

VERSION_SCHEMA = pa.schema([*((name, pa.string()) for name in _ENCODED), ("file", pa.int32())])
"""One row for each version of an object in each file: uri, etag, chip spec as text (cut), collection, and the
file's number (its place in `Encoded.files`)."""

REJECTED_SCHEMA = pa.schema([*((name, pa.string()) for name in _REJECTED), ("file", pa.int32())])


@dataclass(frozen=True)
class Encoded:
    """The objects of a model in one version of the code table."""

    table_version: int
    commits: int
    """The number of the model's last commit: see `CodeTable.commits`."""
    files: list[str]
    """Paths of the model's files in the table's folder; `VERSION_SCHEMA` counts in this list."""
    objects: Path
    """Parquet file of `VERSION_SCHEMA`."""


def read_encoded(table: CodeTable, model_id: str, folder: Path) -> Encoded:
    """Read the objects of a model in the newest version of the code table; ``folder`` takes the file."""
    path, files, version, commits = folder / "encoded.parquet", [], -1, 0
    if table.exists():
        delta = table.open()
        version, files = delta.version(), files_of(delta, model_id)
        commits = table.commits(model_id, version)
    rows = _distinct(table.uri, files, _ENCODED, VERSION_SCHEMA, table.store)
    return Encoded(version, commits, files, spill(rows, VERSION_SCHEMA, path))


def read_rejected(table: CodeTable, model_id: str, folder: Path) -> Path:
    """Write the (uri, etag, cut) that a model has rejected to a Parquet file; some may be there twice."""
    files = files_of(table.open_rejects(), model_id) if table.exists() else []
    rows = _distinct(table.rejects_uri, files, _REJECTED, REJECTED_SCHEMA, table.store)
    return spill(rows, REJECTED_SCHEMA, folder / "rejected.parquet")


@dataclass(frozen=True)
class OldVersions:
    """The versions of objects whose rows are to go."""

    encoded: Encoded
    """The table as it was compared."""
    versions: Path
    """Parquet file of them, ordered by file: uri, etag, cut, file."""
    kept: Sequence[str] = ()
    """Objects (uri) of which all versions stay."""


def remove_versions(
    table: CodeTable, model_id: str, old: OldVersions, number: int, lineage: dict[str, str]
) -> int:
    """Remove the rows of old versions of objects in commit ``number``; return how many rows went.

    Shards with old rows are rewritten without them, a bounded piece at a time.

    Raises ConflictError if another run has committed, or has replaced one of these shards.
    """
    files: list[str] = []
    shards: list[Shard] = []
    removed = 0
    try:
        for file, versions in _by_file(old.versions):
            versions = versions.filter(pc.invert(pc.is_in(versions["uri"], pa.array(old.kept, pa.string()))))
            if len(versions):
                remaining = _RemainingRows(table, old.encoded.files[file], versions)
                shards += write_shards(table.uri, table.store, model_id, remaining.pieces())
                removed += remaining.removed
                files.append(old.encoded.files[file])
        if files:
            table.remove_rows(files, shards, model_id, number, lineage)
    except ConflictError:
        table.discard(shards)
        raise
    return removed


class _RemainingRows:
    """The rows of a shard that stay: those of none of the given versions (uri, etag, cut)."""

    def __init__(self, table: CodeTable, shard: str, versions: pa.Table) -> None:
        self._table, self._shard = table, shard
        self._versions = pa.concat_arrays([pa.array([], pa.string()), *_version_of(versions).chunks])
        self.removed = 0

    def pieces(self) -> Iterator[pa.Table]:
        """Yield the rows that stay and count the others. Raises ConflictError if the shard has gone."""
        folder = self._table.store.arrow_folder(self._table.uri)
        try:
            with pq.ParquetFile(folder.open_input_file(self._shard)) as file:
                batches = (pa.Table.from_batches([batch]) for batch in file.iter_batches(_ROWS_READ))
                for piece in in_bounded_pieces(batches):
                    left = piece.filter(pc.invert(pc.is_in(_version_of(piece), self._versions)))
                    self.removed += len(piece) - len(left)
                    yield left.select(FILE_SCHEMA.names).cast(FILE_SCHEMA)
        except FileNotFoundError as error:
            raise ConflictError(f"another run has replaced {self._shard} in {self._table.uri}") from error


def _distinct(
    uri: str, files: Sequence[str], columns: Sequence[str], schema: pa.Schema, store: Store
) -> Iterator[pa.Table]:
    """Yield the distinct rows of each file, with the file's number."""
    read = partial(_distinct_in, filesystem=store.arrow_folder(uri), columns=list(columns))
    for number, rows in enumerate(mapped_ahead(read, files, _READS)):
        numbers = pa.array([number], pa.int32()).take(pa.array([0] * len(rows)))
        yield rows.append_column("file", numbers).cast(schema)


def _distinct_in(file: str, filesystem: pyarrow.fs.FileSystem, columns: list[str]) -> pa.Table:
    # the chips of an object repeat its name: dictionary-encoded columns are compared by number
    rows = pq.read_table(
        file,
        filesystem=filesystem,
        columns=columns,
        read_dictionary=columns,
        partitioning=None,
        use_threads=False,
        pre_buffer=True,
    )
    rows = rows.unify_dictionaries().combine_chunks()
    return rows.group_by(columns, use_threads=False).aggregate([]).select(columns)


def _by_file(versions: Path) -> Iterator[tuple[int, pa.Table]]:
    numbers = pq.read_table(versions, columns=["file"])["file"].unique().to_pylist()
    for number in numbers:
        yield number, pq.read_table(versions, filters=[("file", "=", number)])


def _version_of(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["uri"], rows["etag"], rows["cut"], "\0")
