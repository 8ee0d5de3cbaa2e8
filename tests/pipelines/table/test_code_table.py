import io
import subprocess
import sys
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.exceptions import CommitFailedError

from pipelines.errors import ConflictError, StorageError, TableError
from pipelines.table.code_table import CodeTable, Shard, _permanent_reason, files_of
from pipelines.table.conflicts import Conflicts
from pipelines.table.pointer import Published, publications, publish, read_pointer
from pipelines.table.schema import CODE_SCHEMA, FILE_SCHEMA

MODEL = "demo@0123456789ab"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEAVE_A_SCAN = """
import sys
from pipelines.config import StoreConfig
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable

table = CodeTable(sys.argv[1], Store(StoreConfig.model_validate_json(sys.argv[2])))
rows, batches = table.stream(sys.argv[3], ["uri"])
assert rows == 400, rows
assert batches.read_next_batch()["uri"][0].as_py() == "0"
"""


@pytest.fixture
def table(store, any_root):
    table = CodeTable(f"{any_root}/codes/", store)
    table.create()
    return table


def write_shard(table: CodeTable, uri: str, etag: str, chips: int = 2) -> Shard:
    rows = [
        {
            "chip_id": f"{uri}-{number}",
            "uri": uri,
            "etag": etag,
            "window": {"x": number, "y": 0, "w": 1, "h": 1},
            "bbox": {"xmin": 0.0, "ymin": 1.0, "xmax": 2.0, "ymax": 3.0} if number else None,
            "geometry": None,
            "datetime": None,
            "collection": "c",
            "properties": [("cloud", "3")],
            "valid_fraction": 1.0,
            "cut": "{}",
            "code": bytes([number] * 8),
            "run_id": "run",
            "encoded_at": NOW,
        }
        for number in range(chips)
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=FILE_SCHEMA), buffer)
    path = f"model_id={MODEL}/{abs(hash((uri, etag)))}.parquet"
    table.store.write(f"{table.uri}/{path}", buffer.getvalue())
    return Shard(path, buffer.tell(), chips)


def done(table: CodeTable, model_id: str = MODEL) -> set[tuple[str, str]]:
    return {(row["uri"], row["etag"]) for row in table.read(model_id, ["uri", "etag"]).to_pylist()}


def test_a_fresh_table_is_empty_and_creating_it_again_keeps_it(table):
    assert (done(table), table.commits(MODEL)) == (set(), 0)
    table.commit_unit([write_shard(table, "a", "1")], MODEL, 1, {})
    table.create()
    assert done(table) == {("a", "1")}


def test_opening_no_table_is_the_users_error(store, any_root):
    table = CodeTable(f"{any_root}/nothing", store)
    assert not table.exists()
    with pytest.raises(TableError, match="no code table at"):
        table.open()


def test_a_file_that_no_commit_names_is_never_read(table):
    write_shard(table, "orphan", "1")
    assert table.read(MODEL, ["uri"]).num_rows == 0


def test_the_same_plan_commits_once(table):
    shard = write_shard(table, "a", "1")
    assert table.commit_unit([shard], MODEL, 1, {}) == 1
    with pytest.raises(ConflictError):
        table.commit_unit([shard], MODEL, 1, {})
    assert table.commits(MODEL) == 1
    assert table.read(MODEL, ["uri"]).num_rows == 2


def test_models_do_not_see_each_other(table):
    table.commit_unit([write_shard(table, "a", "1")], MODEL, 1, {})
    assert done(table, "other@0123456789ab") == set()
    assert table.commits("other@0123456789ab") == 0


def test_rows_are_removed_once(table):
    shards = [write_shard(table, uri, "1") for uri in "abc"]
    table.commit_unit(shards[:2], MODEL, 1, {})
    (path,) = [path for path in files_of(table.open(), MODEL) if path == shards[0].path]
    table.remove_rows([path], shards[2:], MODEL, 2, {"run_id": "r"})
    assert done(table) == {("b", "1"), ("c", "1")}
    assert table.commits(MODEL) == 2
    with pytest.raises(ConflictError, match="has replaced"):
        table.remove_rows([path], [write_shard(table, "d", "1")], MODEL, 3, {})
    with pytest.raises(ConflictError, match="another run has committed"):
        table.remove_rows([shards[1].path], [], MODEL, 2, {})
    assert done(table) == {("b", "1"), ("c", "1")}


def test_lineage_is_in_the_log(table):
    table.commit_unit([write_shard(table, "a", "1")], MODEL, 1, {"run_id": "run-7", "unit_id": "u"})
    commit = table.open().history(1)[0]
    assert (commit["run_id"], commit["unit_id"], commit["model_id"]) == ("run-7", "u", MODEL)


def test_schema_is_the_documented_one_and_sql_reads_it(table):
    table.commit_unit([write_shard(table, "a", "1", chips=3)], MODEL, 1, {})
    rows = table.open().to_pyarrow_table().select(CODE_SCHEMA.names)
    assert rows.schema.equals(CODE_SCHEMA, check_metadata=False)
    nearest = """SELECT b.chip_id, bit_count(xor(a.code::BIT, b.code::BIT)) AS distance
        FROM codes a, codes b WHERE a.chip_id = 'a-1' ORDER BY distance, b.chip_id"""
    duckdb.sql("CREATE OR REPLACE VIEW codes AS SELECT * FROM rows")
    assert duckdb.sql(nearest).fetchall() == [("a-1", 0), ("a-0", 8), ("a-2", 16)]


def test_a_lost_file_is_told_as_such(table):
    shards = [write_shard(table, uri, "1") for uri in "abc"]
    table.commit_unit(shards, MODEL, 1, {})
    table.check_whole(MODEL, 1)
    table.store.remove(f"{table.uri}/{shards[1].path}")
    for read in (
        lambda: table.read(MODEL, ["uri"]),
        lambda: table.stream(MODEL, ["uri"]),
        lambda: list(table.stream_unlike(MODEL, ["uri"], 1, 0)),
        lambda: table.codes(MODEL, ["b-1"], 1),
    ):
        with pytest.raises(FileNotFoundError):
            read()
    with pytest.raises(TableError, match="has lost files"):
        table.check_whole(MODEL, 1)


def test_a_process_may_end_in_the_middle_of_a_scan(table):
    table.commit_unit([write_shard(table, str(number), "1") for number in range(200)], MODEL, 1, {})
    for _ in range(2):
        process = subprocess.run(
            [sys.executable, "-c", LEAVE_A_SCAN, table.uri, table.store.config.model_dump_json(), MODEL],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (process.returncode, process.stderr) == (0, "")


def published(version: int) -> Published:
    return Published(
        table_version=version, model_id=MODEL, bundle_uri="b", run_id="r", published_at=NOW, gate={"chips": 2}
    )


def test_pointer_moves_and_can_be_read(store, any_root):
    with pytest.raises(TableError, match="nothing is published"):
        read_pointer(any_root, store)
    first = publish(any_root, store, published(1), None)
    second = publish(any_root, store, published(2), first)
    assert read_pointer(f"{any_root}/", store) == second
    assert [entry.number for entry in publications(any_root, store)] == [2, 1]
    assert second.model_copy(update={"number": 0, "highest_versions": {}}) == published(2)


def test_a_torn_pointer_is_refused(store, any_root):
    store.write(f"{any_root}/_published.json", b'{"table_version": 1')
    with pytest.raises(TableError, match="isn't a pointer"):
        read_pointer(any_root, store)


def test_what_delta_forbids_is_a_failure_and_no_conflict(store, tmp_path):
    """It would fail however often it is planned anew."""
    table = CodeTable(f"{tmp_path}/codes", store)
    table.create()
    table.commit_unit([write_shard(table, "a", "1")], MODEL, 1, {})
    table.open().alter.set_table_properties({"delta.appendOnly": "true"})
    (path,) = files_of(table.open(), MODEL)
    with pytest.raises(StorageError, match="append-only; set the table's properties right"):
        table.remove_rows([path], [], MODEL, 2, {})


@pytest.mark.parametrize(
    ("text", "is_failure"),
    [
        ("Failed to commit transaction: 15", True),  # Delta's attempts
        ("The transaction includes Remove action with data change but Delta table is append-only", True),
        ("Failed to commit transaction: Concurrent transaction failed.", False),
        ("Failed to commit transaction: Metadata changed since last commit.", False),
    ],
)
def test_conflicts_are_told_from_failures(text, is_failure):
    assert (_permanent_reason(CommitFailedError(text)) is not None) == is_failure


def test_conflicts_in_a_row_end(monkeypatch):
    monkeypatch.setattr("pipelines.table.conflicts.FIRST_PAUSE", 1e-4)
    conflicts, met = Conflicts(3), ConflictError("another run")
    for _ in range(2):
        conflicts.wait(met, "later")
    conflicts.reset()
    for _ in range(2):
        conflicts.wait(met, "later")
    with pytest.raises(ConflictError, match="another run; tried 3 times: later"):
        conflicts.wait(met, "later")
