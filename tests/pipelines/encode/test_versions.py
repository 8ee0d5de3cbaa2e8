"""What a table holds of objects, and taking old versions out, on a real store."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.encode.chips import CHIP
from pipelines.encode.shards import Lineage, write_unit
from pipelines.encode.versions import OldVersions, read_encoded, read_rejected, remove_versions
from pipelines.errors import ConflictError
from pipelines.runtime.spill import read_spilled, spill
from pipelines.table.code_table import CodeTable, files_of
from pipelines.table.shard_files import GEO_METADATA
from tests.pipelines.unit_rows import as_unit

MODEL = "demo@0123456789ab"
OLD_SCHEMA = pa.schema([*((name, pa.string()) for name in ("uri", "etag", "cut")), ("file", pa.int32())])


@pytest.fixture
def table(store, any_root) -> CodeTable:
    """Three units of four objects, two chips each and one reject, then new versions of two objects."""
    table = CodeTable(f"{any_root}/codes", store)
    table.create()
    commit(table, 1, [(f"{number:02}", "1") for number in range(4)])
    commit(table, 2, [(f"{number:02}", "1") for number in range(4, 8)])
    commit(table, 3, [(f"it's {number}", "1") for number in range(4)])
    commit(table, 4, [("01", "2"), ("05", "2")])
    return table


def commit(table: CodeTable, number: int, objects: list[tuple[str, str]], model_id: str = MODEL) -> None:
    chips = [
        {"outcome": CHIP, "uri": uri, "etag": etag, "chip_id": f"{uri}-{chip}", "collection": "c",
         "window": {"x": chip, "y": 0, "w": 1, "h": 1}, "valid_fraction": 1.0, "cut": "{}",
         "code": b"12345678"}
        for chip in range(2) for uri, etag in objects
    ]  # fmt: skip
    chips.append({"outcome": "empty", "detail": "", "uri": f"reject {number}", "etag": "1", "cut": "{}"})
    random.Random(0).shuffle(chips)
    objects, block = as_unit(chips)
    unit = write_unit(table.uri, table.store, Lineage(model_id, "run"), objects, [block])
    table.commit_rejects(unit.rejects)
    table.commit_unit(unit.shards, model_id, number, {})


def rows(path) -> list[dict]:
    return [row for some in read_spilled(path) for row in some.to_pylist()]


def stands(table: CodeTable, version: int | None = None) -> list[tuple[str, str]]:
    """Return (chip id, etag) of every row, with repeats."""
    columns = table.read(MODEL, ["chip_id", "etag"], version).to_pylist()
    return sorted((row["chip_id"], row["etag"]) for row in columns)


def old(folder, table: CodeTable, versions: set[tuple[str, str]]):
    encoded = read_encoded(table, MODEL, folder)
    chosen = [row for row in rows(encoded.objects) if (row["uri"], row["etag"]) in versions]
    for row in chosen:
        del row["collection"]
    chosen.sort(key=lambda row: row["file"])
    return encoded, spill([pa.Table.from_pylist(chosen, OLD_SCHEMA)], OLD_SCHEMA, folder / "old.parquet")


def test_each_version_is_read_once_for_each_file(table, tmp_path):
    commit(table, 1, [("other", "1")], model_id="other@0123456789ab")
    encoded = read_encoded(table, MODEL, tmp_path)
    assert (encoded.table_version, encoded.commits, len(encoded.files)) == (5, 4, 4)
    found = rows(encoded.objects)
    names = [f"{number:02}" for number in range(8)] + [f"it's {number}" for number in range(4)]
    expected = [(name, "1") for name in names] + [("01", "2"), ("05", "2")]
    assert sorted((row["uri"], row["etag"]) for row in found) == sorted(expected)
    assert {row["collection"] for row in found} == {"c"}
    files = {row["file"] for row in found if row["uri"].startswith("it's")}
    assert len(files) == 1
    rejected = {(row["uri"], row["etag"]) for row in rows(read_rejected(table, MODEL, tmp_path))}
    assert rejected == {(f"reject {number}", "1") for number in range(1, 5)}


def test_no_table_holds_nothing(store, tmp_path):
    table = CodeTable(str(tmp_path / "none"), store)
    encoded = read_encoded(table, MODEL, tmp_path)
    assert (encoded.commits, encoded.files, rows(encoded.objects)) == (0, [], [])
    assert rows(read_rejected(table, MODEL, tmp_path)) == []


def test_old_versions_go_in_one_commit_and_only_they(table, tmp_path):
    before, version = stands(table), table.open().version()
    gone = {("01", "1"), ("05", "1"), *((f"it's {number}", "1") for number in range(4))}
    encoded, path = old(tmp_path, table, gone)
    assert remove_versions(table, MODEL, OldVersions(encoded, path, ["05"]), 5, {"run_id": "r"}) == 2 + 8
    expected = [(chip, etag) for chip, etag in before if (chip[:-2], etag) not in gone - {("05", "1")}]
    assert stands(table) == expected
    assert table.open().version() == version + 1
    assert stands(table, version) == before, "the version before it is still whole"
    filesystem, folder = table.store.arrow_filesystem(table.uri)
    for file in files_of(table.open(), MODEL):
        shard = pq.read_schema(f"{folder}/{file}", filesystem=filesystem)
        assert str(GEO_METADATA["version"]) in shard.metadata[b"geo"].decode()


def test_of_two_runs_that_remove_at_once_one_does(table, tmp_path):
    """Each holds the other's version to be old: were both to go, the object would be lost."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    first = old(mine, table, {("01", "1")})
    second = old(theirs, table, {("01", "2")})
    assert remove_versions(table, MODEL, OldVersions(*first), 5, {}) == 2
    after = stands(table)
    with pytest.raises(ConflictError):
        remove_versions(table, MODEL, OldVersions(*second), 5, {})
    assert stands(table) == after
    assert ("01-0", "2") in after


def test_a_file_that_was_compacted_meanwhile_is_a_conflict(table, tmp_path):
    encoded, path = old(tmp_path, table, {("01", "1")})
    table.open().optimize.compact()
    before = stands(table)
    with pytest.raises(ConflictError):
        remove_versions(table, MODEL, OldVersions(encoded, path), 5, {})
    assert stands(table) == before
    encoded, path = old(tmp_path, table, {("01", "1")})
    assert remove_versions(table, MODEL, OldVersions(encoded, path), 5, {}) == 2
