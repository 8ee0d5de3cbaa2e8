"""The code table and the rejects table, both Delta Lake. docs/formats/code-table.md specifies them."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from pipelines.errors import ConflictError, TableError
from pipelines.storage import Store

_INT32, _DOUBLE = pa.int32(), pa.float64()
_REMOVALS = "scenehash/removals"  # numbers the commits that remove files
_NO_NEWS = ("VACUUM", "OPTIMIZE", "CREATE", "SET")  # operations that leave the rows as they are
_URIS_A_DELETE = 200  # each delete rewrites the shards it touches: a few large ones, not many small

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
                # old versions are published: jobs.maintain clears the log, not a writer after 30 days
                configuration={"delta.enableExpiredLogCleanup": "false"},
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

    def compact_rejects(self) -> None:
        """Merge the small files of the rejects table. Two at once may repeat rows, which is harmless."""
        self.open_rejects().optimize.compact()

    def _open(self, uri: str, version: int | None = None) -> DeltaTable:
        try:
            return DeltaTable(uri, version=version, storage_options=self.store.delta_options())
        except TableNotFoundError as error:
            if version is not None and DeltaTable.is_deltatable(uri, self.store.delta_options()):
                raise TableError(
                    f"{uri} has no version {version} any more; see jobs.publish --history"
                ) from error
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

    def stream_rejects(
        self, model_id: str, columns: Sequence[str], since: datetime | None = None
    ) -> pa.RecordBatchReader:
        """Return some columns of a model's rejects, all or those after ``since``, batch by batch."""
        chosen = pc.field("model_id") == model_id
        if since:
            chosen &= pc.field("at") > pa.scalar(since, REJECT_SCHEMA.field("at").type)
        dataset = self.open_rejects().to_pyarrow_dataset()
        return dataset.scanner(list(columns), filter=chosen).to_reader()

    def check_whole(self, model_id: str, version: int) -> None:
        """Raise TableError where a version's files aren't all there any more."""
        try:
            self.stream(model_id, ["chip_id"], version)
        except (FileNotFoundError, PermissionError) as error:
            raise lost_files(self.uri, version, error) from error

    def changed_since(self, model_id: str, version: int) -> bool:
        """Return whether a model's rows may have changed after a version: maintenance changes none."""
        table = self.open()
        commits = table.history(table.version() - version)
        reaches_back = not commits or min(commit["version"] for commit in commits) == version + 1
        return not reaches_back or any(_changes_rows(commit, model_id) for commit in commits)

    def done(self, model_id: str) -> pa.Table:
        """Return the distinct (uri, etag) that this model has encoded or rejected."""
        both = [self.read(model_id, ["uri", "etag"]), self.read_rejects(model_id, ["uri", "etag"])]
        return pa.concat_tables(both).group_by(["uri", "etag"]).aggregate([])

    def commits(self, model_id: str) -> int:
        """Return how many units have been committed for a model, ever: the number of its last one."""
        return self.open().transaction_version(_app_id(model_id)) or 0

    def commit_rejects(self, rejects: pa.Table) -> None:
        """Append to the rejects table. A repeated row is harmless: `done` looks at distinct ones."""
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
        table = self.open()
        app_id = _app_id(model_id)
        if (table.transaction_version(app_id) or 0) != number - 1:
            raise ConflictError(f"another run has committed to {self.uri} since this one planned its work")
        adds = [_added(shard, model_id) for shard in shards]
        metadata = lineage | {"model_id": model_id, "chips": str(sum(shard.rows for shard in shards))}
        self._commit(table, adds, metadata, Transaction(app_id, number))
        return self.open().version()

    def replace_files(
        self,
        removed: Sequence[str],
        shards: Sequence[Shard],
        model_id: str,
        lineage: dict[str, str],
        *,
        data_change: bool,
    ) -> None:
        """Put shards in the place of files (paths in the table's folder), in one transaction.

        Without ``data_change`` they hold the same rows. Raises ConflictError where one of the files has been
        removed by somebody else. Delta alone wouldn't see that where the other one had changed no data, and
        rows would stand twice: so the commits that remove files are numbered, as units are.
        """
        now = int(time.time() * 1000)
        removes: list[AddAction | RemoveAction] = [
            RemoveAction(path, data_change, now, partition_values={"model_id": model_id}) for path in removed
        ]
        adds = [_added(shard, model_id, data_change=data_change) for shard in shards]
        table = self.open()
        gone = set(removed) - set(files_of(table, model_id))
        if gone:
            raise ConflictError(f"another run has replaced {min(gone)} in {self.uri}")
        number = (table.transaction_version(_REMOVALS) or 0) + 1
        metadata = lineage | {"model_id": model_id}
        self._commit(table, removes + adds, metadata, Transaction(_REMOVALS, number))

    def _commit(
        self,
        table: DeltaTable,
        actions: list[AddAction | RemoveAction],
        metadata: dict[str, str],
        transaction: Transaction,
    ) -> None:
        properties = CommitProperties(app_transactions=[transaction], custom_metadata=metadata)
        try:
            table.create_write_transaction(
                actions, "append", table.schema(), partition_by=["model_id"], commit_properties=properties
            )
        except CommitFailedError as error:
            raise ConflictError(f"another run committed to {self.uri} at the same time") from error

    def remove_superseded(self, model_id: str, current: pa.Table, lineage: dict[str, str]) -> int:
        """Remove rows of objects in ``current`` (uri, etag) that were encoded from an older etag.

        Returns how many rows went. Raises ConflictError where another run changes the same rows.
        """
        rows = self.read(model_id, ["uri", "etag"]).group_by(["uri", "etag"]).aggregate([])
        stale = rows.join(current.rename_columns(["uri", "current_etag"]), keys="uri", join_type="inner")
        stale = stale.filter(pc.not_equal(stale["etag"], stale["current_etag"]))
        removed = 0
        for start in range(0, len(stale), _URIS_A_DELETE):
            chunk = stale.slice(start, _URIS_A_DELETE).to_pylist()
            versions = " OR ".join(
                f"(uri = {_quoted(row['uri'])} AND etag = {_quoted(row['etag'])})" for row in chunk
            )
            try:
                metrics = self.open().delete(
                    f"model_id = {_quoted(model_id)} AND ({versions})",
                    commit_properties=CommitProperties(custom_metadata=lineage),
                )
            except CommitFailedError as error:
                raise ConflictError(f"another run is changing {self.uri}; run again after it") from error
            removed += int(metrics["num_deleted_rows"])
        return removed


def _rows_of(table: DeltaTable, model_id: str, columns: Sequence[str]) -> pa.Table:
    return pa.table(table.to_pyarrow_table(filters=[("model_id", "=", model_id)], columns=list(columns)))


def files_of(table: DeltaTable, model_id: str) -> list[str]:
    """Return the paths, in the table's folder, of the files that hold a model's rows."""
    files = table.file_uris(file_pruning_predicate=[("model_id", "=", model_id)])
    return [file[file.rindex("/model_id=") + 1 :] for file in files]


def _added(shard: Shard, model_id: str, *, data_change: bool = True) -> AddAction | RemoveAction:
    """Return what the log says of a new shard."""
    return AddAction(
        path=shard.path,
        size=shard.size,
        partition_values={"model_id": model_id},
        modification_time=int(time.time() * 1000),
        data_change=data_change,
        stats=json.dumps({"numRecords": shard.rows}),
    )


def _changes_rows(commit: dict[str, Any], model_id: str) -> bool:
    """Return whether a commit of the log may have changed a model's rows."""
    idle = "maintenance" in commit or commit.get("chips") == "0" or commit["operation"].startswith(_NO_NEWS)
    return not idle and commit.get("model_id", model_id) == model_id


def lost_files(uri: str, version: int, error: OSError) -> TableError:
    """Return the error of a version that is out of the keep window of jobs.maintain."""
    return TableError(f"version {version} of {uri} has lost files, publish another one (--history): {error}")


def _app_id(model_id: str) -> str:
    return f"scenehash/{model_id}"


def _quoted(text: str) -> str:
    """Return a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
