"""The code table and the rejects table, both Delta Lake. docs/formats/code-table.md specifies them."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs
import structlog
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from pipelines.errors import ConflictError, StorageError, TableError, one_line
from pipelines.storage.refusals import refusal
from pipelines.storage.retry import translate_store_errors
from pipelines.storage.store import Store
from pipelines.table.row_ranges import ALL_ROWS, RowRange, stream_range
from pipelines.table.schema import CODE_SCHEMA, REJECT_SCHEMA

log = structlog.get_logger()

Actions = list[AddAction | RemoveAction]

_REMOVALS = "scenehash/removals"  # numbers the commits that remove files
_TOO_BUSY = re.compile(r"commit attempts|^Failed to commit transaction: \d+$", re.IGNORECASE)
_FORBIDDEN = re.compile(r"append-only|unsupported|feature", re.IGNORECASE)
_NO_NEWS = ("VACUUM", "OPTIMIZE", "CREATE", "SET")  # operations that leave the rows as they are


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
        """Create each of the two tables that doesn't exist yet. Raises StorageError if that fails."""
        # the code table last: if it exists, both do (see `exists`)
        for uri, schema in ((self.rejects_uri, REJECT_SCHEMA), (self.uri, CODE_SCHEMA)):
            with _writing(uri):
                DeltaTable.create(
                    uri,
                    schema=schema,
                    mode="ignore",
                    partition_by=["model_id"],
                    # old versions may be published: jobs.maintain clears the log, no writer does by itself
                    configuration={"delta.enableExpiredLogCleanup": "false"},
                    storage_options=self.store.delta_options(),
                )

    def exists(self) -> bool:
        """Return whether both tables exist."""
        return self._is_table(self.uri)

    def open(self, version: int | None = None) -> DeltaTable:
        """Open the code table at a version, or the newest. Raises TableError if there is none."""
        return self._open(self.uri, version)

    def id(self, version: int | None = None) -> str:
        """Return Delta's id of the table: a new table at the same URI has another id."""
        return str(self.open(version).metadata().id)

    def has_version(self, version: int) -> bool:
        """Return whether a version can still be opened; its data files may have gone."""
        try:
            self.open(version)
        except TableError:
            return False
        return True

    def versions(self) -> range:
        """Return the versions that the table's log has; the data files of old ones may have gone."""
        history = [commit["version"] for commit in self.open().history()]
        return range(min(history), max(history) + 1)

    def open_rejects(self) -> DeltaTable:
        """Open the rejects table. Raises TableError if there is none."""
        return self._open(self.rejects_uri)

    def compact_rejects(self) -> None:
        """Merge the small files of the rejects table. Two runs at once may repeat rows, which is harmless."""
        self.open_rejects().optimize.compact()

    def _is_table(self, uri: str) -> bool:
        with translate_store_errors(uri, "opened"):
            return DeltaTable.is_deltatable(uri, storage_options=self.store.delta_options())

    def _open(self, uri: str, version: int | None = None) -> DeltaTable:
        try:
            with translate_store_errors(uri, "opened"):
                return DeltaTable(uri, version=version, storage_options=self.store.delta_options())
        except TableNotFoundError as error:
            if version is not None and self._is_table(uri):
                raise TableError(
                    f"{uri} has no version {version} any more; see jobs.publish --history"
                ) from error
            raise TableError(f"no code table at {uri}; run jobs.nightly first, or check --table") from error
        except DeltaError as error:
            reason = refusal(error) or one_line(error, 300)
            raise TableError(f"{uri} can't be opened at version {version}: {reason}") from error

    def read(self, model_id: str, columns: Sequence[str], version: int | None = None) -> pa.Table:
        """Return some columns of all rows of a model, at a version or the newest."""
        return self._dataset(version).to_table(list(columns), filter=pc.field("model_id") == model_id)

    def stream(
        self,
        model_id: str,
        columns: Sequence[str],
        version: int | None = None,
        row_range: RowRange = ALL_ROWS,
    ) -> tuple[int, pa.RecordBatchReader]:
        """Return how many rows of a model are in a range, and a reader of some columns in the table's order.

        Files without a row of the range aren't read.
        """
        dataset = self._dataset(version)
        chosen = pc.field("model_id") == model_id
        if row_range.parts > 1:
            return stream_range(dataset, chosen, list(columns), row_range)
        return dataset.count_rows(filter=chosen), dataset.scanner(list(columns), filter=chosen).to_reader()

    def stream_unlike(
        self, model_id: str, columns: Sequence[str], version: int, other: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield some columns of the rows in files that ``version`` has and ``other`` hasn't, batch by batch.

        These are all rows that ``other`` lacks, and rows that it has in files that were rewritten since.
        Raises TableError if one of the versions can't be opened any more.
        """
        known = {fragment.path for fragment in self._fragments(model_id, other)[1]}
        dataset, fragments = self._fragments(model_id, version)
        news = [fragment for fragment in fragments if fragment.path not in known]
        own = pyarrow.dataset.FileSystemDataset(news, dataset.schema, dataset.format, dataset.filesystem)
        yield from own.scanner(list(columns)).to_batches()

    def _dataset(self, version: int | None = None) -> pyarrow.dataset.Dataset:
        return _dataset_of(self.open(version), self.store.arrow_folder(self.uri))

    def _fragments(
        self, model_id: str, version: int
    ) -> tuple[pyarrow.dataset.Dataset, list[pyarrow.dataset.Fragment]]:
        dataset = self._dataset(version)
        return dataset, list(dataset.get_fragments(filter=pc.field("model_id") == model_id))

    def codes(self, model_id: str, chip_ids: Sequence[str], version: int) -> dict[str, bytes]:
        """Return the codes of some chips by id, at a version; chips that it doesn't have are left out."""
        chosen = (pc.field("model_id") == model_id) & pc.field("chip_id").isin(list(chip_ids))
        rows = self._dataset(version).to_table(["chip_id", "code"], filter=chosen)
        return dict(zip(rows["chip_id"].to_pylist(), rows["code"].to_pylist(), strict=True))

    def stream_rejects(
        self, model_id: str, columns: Sequence[str], since: datetime | None = None
    ) -> pa.RecordBatchReader:
        """Return a reader of some columns of a model's rejects: all, or those rejected after ``since``."""
        chosen = pc.field("model_id") == model_id
        if since:
            chosen &= pc.field("at") > pa.scalar(since, REJECT_SCHEMA.field("at").type)
        dataset = _dataset_of(self.open_rejects(), self.store.arrow_folder(self.rejects_uri))
        return dataset.scanner(list(columns), filter=chosen).to_reader()

    def check_whole(self, model_id: str, version: int) -> None:
        """Raise TableError unless all files of a version are still there."""
        try:
            self._dataset(version).count_rows(filter=pc.field("model_id") == model_id)
        except (FileNotFoundError, PermissionError) as error:
            raise lost_files(self.uri, version, error) from error

    def changed_since(self, model_id: str, version: int) -> bool:
        """Return whether a model's rows may have changed since a version. Maintenance changes none."""
        table = self.open()
        commits = table.history(table.version() - version)
        reaches_back = not commits or min(commit["version"] for commit in commits) == version + 1
        return not reaches_back or any(_changes_rows(commit, model_id) for commit in commits)

    def commits(self, model_id: str, version: int | None = None) -> int:
        """Return the number of a model's last numbered commit, up to a version; 0 if there was none."""
        return self.open(version).transaction_version(_app_id(model_id)) or 0

    def is_whole(self, model_id: str, version: int | None = None) -> bool:
        """Return whether a version is the end of a model's night, not one between the commits of a night."""
        table = self.open(version)
        ended = table.transaction_version(_nights_id(model_id)) or 0
        return ended == (table.transaction_version(_app_id(model_id)) or 0)

    def commit_rejects(self, rejects: pa.Table) -> None:
        """Append to the rejects table. A repeated row is harmless: readers take distinct rows.

        Raises ConflictError if another run commits at the same time, StorageError if the commit fails.
        """
        if len(rejects):
            options = self.store.delta_options()
            with _writing(self.rejects_uri):
                write_deltalake(self.rejects_uri, rejects, mode="append", storage_options=options)

    def commit_unit(
        self,
        shards: Sequence[Shard],
        model_id: str,
        number: int,
        lineage: dict[str, str],
        *,
        is_last: bool = True,
    ) -> int:
        """Append one unit's shards in one transaction; return a version of the table that has them.

        ``is_last`` says that the night has nothing more to commit: see `is_whole`.

        ``number`` must be one more than `commits` was when the unit was planned, so two nights of one model
        can't both commit against the same plan. Raises ConflictError in the later one, StorageError if the
        commit can't be written.
        """
        table = self.open()
        transactions = self._numbered(table, model_id, number, is_last=is_last)
        metadata = lineage | {"model_id": model_id, "chips": str(sum(shard.rows for shard in shards))}
        return self._commit(table, [_added(shard, model_id) for shard in shards], metadata, transactions)

    def remove_rows(
        self, old: Sequence[str], new: Sequence[Shard], model_id: str, number: int, lineage: dict[str, str]
    ) -> int:
        """Replace files by shards without some of their rows, as the night's last commit ``number``.

        Numbered as in `commit_unit`, and checked as in `replace_files`. Returns the table's new version.
        """
        table = self.open()
        transactions = [*self._numbered(table, model_id, number, is_last=True), self._next_removal(table)]
        actions = self._replacements(table, old, new, model_id, data_change=True)
        return self._commit(table, actions, lineage | {"model_id": model_id}, transactions)

    def replace_files(
        self, old: Sequence[str], new: Sequence[Shard], model_id: str, lineage: dict[str, str]
    ) -> int:
        """Replace files (see `files_of`) by shards that hold the same rows, in one transaction.

        Returns the table's new version. Raises ConflictError if another run has removed one of the files.
        Delta alone doesn't notice that if one of the two commits changes no data, and rows would be there
        twice. So all commits that remove files are numbered, in one sequence for all models and jobs.
        """
        table = self.open()
        transactions = [self._next_removal(table)]
        actions = self._replacements(table, old, new, model_id, data_change=False)
        return self._commit(table, actions, lineage | {"model_id": model_id}, transactions)

    def _numbered(self, table: DeltaTable, model_id: str, number: int, *, is_last: bool) -> list[Transaction]:
        app_id = _app_id(model_id)
        if (table.transaction_version(app_id) or 0) != number - 1:
            raise ConflictError(f"another run has committed to {self.uri} since this one planned its work")
        ids = [app_id, _nights_id(model_id)] if is_last else [app_id]
        return [Transaction(each, number) for each in ids]

    def _next_removal(self, table: DeltaTable) -> Transaction:
        return Transaction(_REMOVALS, (table.transaction_version(_REMOVALS) or 0) + 1)

    def _replacements(
        self, table: DeltaTable, old: Sequence[str], new: Sequence[Shard], model_id: str, *, data_change: bool
    ) -> Actions:
        gone = set(old) - set(files_of(table, model_id))
        if gone:
            raise ConflictError(f"another run has replaced {min(gone)} in {self.uri}")
        now = int(time.time() * 1000)
        partition: dict[str, str | None] = {"model_id": model_id}
        removes = [RemoveAction(path, data_change, now, partition_values=partition) for path in old]
        return [*removes, *(_added(shard, model_id, data_change=data_change) for shard in new)]

    def _commit(
        self,
        table: DeltaTable,
        actions: Actions,
        metadata: dict[str, str],
        transactions: Sequence[Transaction],
    ) -> int:
        commit_id = uuid4().hex
        properties = CommitProperties(
            app_transactions=list(transactions), custom_metadata=metadata | {"commit_id": commit_id}
        )
        try:
            with _writing(self.uri):
                table.create_write_transaction(
                    actions, "append", table.schema(), partition_by=["model_id"], commit_properties=properties
                )
        except ConflictError:
            # if the answer was lost and Delta repeated the commit, the conflict is with this very commit
            now = self.open()
            since = now.history(now.version() - table.version())
            if not any(commit.get("commit_id") == commit_id for commit in since):
                raise
        return self.open().version()

    def discard(self, shards: Sequence[Shard]) -> None:
        """Remove the shards of a commit that was refused: no commit will ever name them."""
        for shard in shards:
            try:
                self.store.remove(f"{self.uri}/{shard.path}")
            except StorageError as error:
                log.warning(
                    "shard not removed; jobs.maintain will remove it", shard=shard.path, reason=str(error)
                )


@contextmanager
def _writing(uri: str) -> Iterator[None]:
    """Raise Delta's errors of a commit as our own: ConflictError, StorageError or StoreDownError."""
    try:
        with translate_store_errors(uri, "written"):
            yield
    except CommitFailedError as error:
        if reason := _permanent_reason(error):
            raise StorageError(f"{uri} can't be written: {reason}") from error
        raise ConflictError(f"another run committed to {uri} at the same time") from error
    except DeltaError as error:
        reason = refusal(error) or f"{one_line(error, 300)}; run again once it can"
        raise StorageError(f"{uri} can't be written: {reason}") from error


def _permanent_reason(error: CommitFailedError) -> str | None:
    """Return why a commit would fail again after a new plan; None if it met a conflict.

    Delta has one type of error for both, and only its text tells them apart. Any other text counts as a
    conflict: the caller plans again, a limited number of times.
    """
    text = one_line(error)
    if reason := refusal(error):
        return reason
    if _TOO_BUSY.search(text):
        return "others commit to it all the time; run again when fewer do"
    if _FORBIDDEN.search(text):
        return f"{text}; set the table's properties right"
    return None


def _dataset_of(table: DeltaTable, folder: pyarrow.fs.FileSystem) -> pyarrow.dataset.Dataset:
    """Return a table's rows as a dataset that reads through Arrow's own file system.

    deltalake's file system is written in Python. Its reading threads run on for a moment after a scan is
    dropped, and would crash a process that ends in that moment.
    """
    return table.to_pyarrow_dataset(filesystem=folder)


def files_of(table: DeltaTable, model_id: str) -> list[str]:
    """Return the paths, in the table's folder, of the files that hold a model's rows."""
    files = table.file_uris(file_pruning_predicate=[("model_id", "=", model_id)])
    root = table.table_uri.removeprefix("file://")
    return [file.removeprefix(root) for file in files]


def _added(shard: Shard, model_id: str, *, data_change: bool = True) -> AddAction | RemoveAction:
    """Return the entry of Delta's log for a new shard."""
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
    """Return the error for a version whose files jobs.maintain has removed."""
    return TableError(f"version {version} of {uri} has lost files, publish another one (--history): {error}")


def _app_id(model_id: str) -> str:
    return f"scenehash/{model_id}"


def _nights_id(model_id: str) -> str:
    """Return the transaction id that holds the number of the last commit of the last whole night."""
    return f"{_app_id(model_id)}/nights"
