"""The code table and the rejects table, both Delta Lake. docs/formats/code-table.md specifies them."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from pipelines.errors import ConflictError, TableError
from pipelines.storage import Store

_INT32, _DOUBLE = pa.int32(), pa.float64()

CODE_SCHEMA = pa.schema(
    [
        pa.field("chip_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("window", pa.struct([(name, _INT32) for name in ("x", "y", "w", "h")]), nullable=False),
        pa.field("bbox", pa.struct([(name, _DOUBLE) for name in ("xmin", "ymin", "xmax", "ymax")])),
        pa.field("geometry", pa.binary()),
        pa.field("datetime", pa.timestamp("us", tz="UTC")),
        pa.field("collection", pa.string(), nullable=False),
        pa.field("properties", pa.map_(pa.string(), pa.string())),
        pa.field("valid_fraction", pa.float32(), nullable=False),
        pa.field("code", pa.binary(), nullable=False),
        pa.field("model_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("encoded_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""One row a chip. Format version 1."""

FILE_SCHEMA = pa.schema([field for field in CODE_SCHEMA if field.name != "model_id"])
"""What a shard holds: Delta keeps the partition column in its log, not in the files."""

REJECT_SCHEMA = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False)
        for name in ("uri", "etag", "model_id", "reason", "detail", "run_id")
    ]
    + [pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False)]
)
"""One row an object that can't be encoded."""


@dataclass(frozen=True)
class Shard:
    """A Parquet file in the table's folder that no commit names yet."""

    path: str
    """Relative to the table's root."""
    size: int
    """Bytes."""
    rows: int


class CodeTable:
    """The code table at a URI and its rejects table, which lies beside it at ``<uri>_rejects``."""

    def __init__(self, uri: str, store: Store) -> None:
        self.uri = uri.rstrip("/")
        self.rejects_uri = f"{self.uri}_rejects"
        self.store = store

    def create(self) -> None:
        """Create both tables where they don't exist yet."""
        for uri, schema in ((self.uri, CODE_SCHEMA), (self.rejects_uri, REJECT_SCHEMA)):
            DeltaTable.create(
                uri,
                schema=schema,
                mode="ignore",
                partition_by=["model_id"],
                storage_options=self.store.delta_options(),
            )

    def exists(self) -> bool:
        """Return whether the code table has been made."""
        return DeltaTable.is_deltatable(self.uri, storage_options=self.store.delta_options())

    def open(self, version: int | None = None) -> DeltaTable:
        """Open the code table, at a version. Raises TableError where there is none."""
        return self._open(self.uri, version)

    def open_rejects(self) -> DeltaTable:
        """Open the rejects table. Raises TableError where there is none."""
        return self._open(self.rejects_uri)

    def _open(self, uri: str, version: int | None = None) -> DeltaTable:
        try:
            return DeltaTable(uri, version=version, storage_options=self.store.delta_options())
        except TableNotFoundError as error:
            raise TableError(f"no code table at {uri}; run jobs.nightly first, or check --table") from error
        except DeltaError as error:
            raise TableError(f"{uri}, version {version}: {error}") from error

    def read(self, model_id: str, columns: Sequence[str], version: int | None = None) -> pa.Table:
        """Return some columns of all of a model's rows, at a version."""
        return _rows_of(self.open(version), model_id, columns)

    def stream(
        self, model_id: str, columns: Sequence[str], version: int | None = None
    ) -> tuple[int, pa.RecordBatchReader]:
        """Return how many rows a model has, and some columns of them, batch by batch in the table's order."""
        dataset = self.open(version).to_pyarrow_dataset()
        chosen = pc.field("model_id") == model_id
        return dataset.count_rows(filter=chosen), dataset.scanner(list(columns), filter=chosen).to_reader()

    def read_rejects(self, model_id: str, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all of a model's rejects."""
        return _rows_of(self.open_rejects(), model_id, columns)

    def commits(self, model_id: str, version: int | None = None) -> int:
        """Return how many numbered commits a model has had, up to a version: the last one's number."""
        return self.open(version).transaction_version(_app_id(model_id)) or 0

    def commit_rejects(self, rejects: pa.Table) -> None:
        """Append to the rejects table. A repeated row is harmless: readers look at distinct ones."""
        if len(rejects):
            options = self.store.delta_options()
            write_deltalake(self.rejects_uri, rejects, mode="append", storage_options=options)

    def commit_unit(
        self, shards: Sequence[Shard], model_id: str, number: int, lineage: dict[str, str]
    ) -> int:
        """Append one unit's shards in one transaction; return the table's new version.

        ``number`` must be one more than `commits` was when the unit was planned: two nights over one
        model can't both commit against the same plan. Raises ConflictError for the later of them.
        """
        actions = [_added(shard, model_id) for shard in shards]
        return self._commit(self.open(), actions, model_id, number, lineage)

    def replace_files(
        self, old: Sequence[str], new: Sequence[Shard], model_id: str, number: int, lineage: dict[str, str]
    ) -> int:
        """Put shards in the place of files (see `files_of`) in one transaction; return the new version.

        ``number`` is as in `commit_unit`. Raises ConflictError where another run has committed, or one of the
        files isn't the table's any more.
        """
        table = self.open()
        gone = set(old) - set(files_of(table, model_id))
        if gone:
            raise ConflictError(f"somebody else has replaced {min(gone)} in {self.uri}")
        now = int(time.time() * 1000)
        partition: dict[str, str | None] = {"model_id": model_id}
        actions = [_added(shard, model_id) for shard in new]
        actions += [RemoveAction(path, True, now, partition_values=partition) for path in old]
        return self._commit(table, actions, model_id, number, lineage)

    def _commit(
        self,
        table: DeltaTable,
        actions: list[AddAction | RemoveAction],
        model_id: str,
        number: int,
        lineage: dict[str, str],
    ) -> int:
        app_id = _app_id(model_id)
        if (table.transaction_version(app_id) or 0) != number - 1:
            raise ConflictError(f"another run has committed to {self.uri} since this one planned its work")
        properties = CommitProperties(
            app_transactions=[Transaction(app_id, number)], custom_metadata=lineage | {"model_id": model_id}
        )
        try:
            table.create_write_transaction(
                actions, "append", table.schema(), partition_by=["model_id"], commit_properties=properties
            )
        except CommitFailedError as error:
            raise ConflictError(f"another run committed to {self.uri} at the same time") from error
        return self.open().version()


def files_of(table: DeltaTable, model_id: str) -> list[str]:
    """Return the paths, in the table's folder, of the files that hold a model's rows."""
    files = table.file_uris(file_pruning_predicate=[("model_id", "=", model_id)])
    root = table.table_uri.removeprefix("file://")
    return [file.removeprefix(root) for file in files]


def _added(shard: Shard, model_id: str) -> AddAction | RemoveAction:
    """Return what the log says of a new shard."""
    return AddAction(
        path=shard.path,
        size=shard.size,
        partition_values={"model_id": model_id},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": shard.rows}),
    )


def _rows_of(table: DeltaTable, model_id: str, columns: Sequence[str]) -> pa.Table:
    return pa.table(table.to_pyarrow_table(filters=[("model_id", "=", model_id)], columns=list(columns)))


def _app_id(model_id: str) -> str:
    return f"scenehash/{model_id}"
