"""What is refused before it is served, and what is looked up."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import shapely

from pipelines.errors import BundleError, TableError
from pipelines.hamming.row_filter import rows_of
from pipelines.index.filters import criteria, select_rows
from pipelines.index.polygons import rectangles_of, select_touching
from pipelines.serve.chip_at import chip_at
from pipelines.serve.config import ServeConfig
from pipelines.serve.run import run_serve
from pipelines.serve.snapshot import Snapshot, load_snapshot
from pipelines.storage.store import Store
from pipelines.table.pointer import Published, read_pointer
from pipelines.table.row_ranges import ALL_ROWS, RowRange
from tests.pipelines.serve.conftest import Archive, commit


def load(archive: Archive, published: Published, folder: Path, part: RowRange = ALL_ROWS) -> Snapshot:
    config = ServeConfig(
        table=archive.table, store=archive.store.config, open=True, index_folder=folder, kept_snapshots=2
    )
    return load_snapshot(config, published, part)


def test_a_missing_table_is_told_before_anything_starts(store: Store, root: str) -> None:
    with pytest.raises(TableError, match="nothing is published"):
        run_serve(ServeConfig(table=f"{root}/none", store=store.config, open=True))


def test_finds_every_chip_and_no_other(archive: Archive, tmp_path: Path) -> None:
    published = read_pointer(archive.table, archive.store)
    rows = load(archive, published, tmp_path).index.rows
    found = [rows.find(chip) for chip in archive.ids()]
    assert sorted(found) == list(range(64))
    assert [chip["chip_id"] for chip in rows.take(np.array(found))] == archive.ids()
    assert [rows.find(stranger) for stranger in ("", "zzz", archive.ids()[0] + "0")] == [None] * 3


def test_filters_see_what_the_table_says(archive: Archive, tmp_path: Path) -> None:
    published = read_pointer(archive.table, archive.store)
    index = load(archive, published, tmp_path).index
    table = archive.rows[archive.versions[0]].to_pylist()
    collection, time = next((row["collection"], row["datetime"]) for row in table if row["datetime"])
    wanted = np.array([name == collection for name in index.collections])
    selection = select_rows(index.columns, index.spans, criteria(interval=(time, time), wanted_C=wanted))
    found = {chip["chip_id"] for chip in index.rows.take(rows_of(selection))}
    assert found == {
        row["chip_id"] for row in table if row["datetime"] == time and row["collection"] == collection
    }

    outlines = {row["chip_id"]: shapely.from_wkb(row["geometry"]) for row in table if row["geometry"]}
    for shape in outlines.values():  # each touches its neighbours, if only with an edge
        boxes = select_rows(index.columns, index.spans, criteria(rectangles_of(shape)))
        touching = select_touching(shape, boxes, index.columns, index.spans, index.rows.outlines)
        found = {chip["chip_id"] for chip in index.rows.take(rows_of(touching))}
        assert found == {chip_id for chip_id, outline in outlines.items() if outline.intersects(shape)}


def test_keeps_the_indices_of_two_versions(archive: Archive, tmp_path: Path) -> None:
    published = read_pointer(archive.table, archive.store)
    for version in (0, 1, published.table_version):
        at_version = published.model_copy(update={"table_version": version})
        load(archive, at_version, tmp_path)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_an_empty_version_can_be_served(archive: Archive, tmp_path: Path) -> None:
    published = read_pointer(archive.table, archive.store).model_copy(update={"table_version": 0})
    empty = load(archive, published, tmp_path).index
    assert (len(empty.codes), empty.rows.find("x"), chip_at(empty, 0, 0)) == (0, None, None)


def test_refuses_another_models_bundle(archive: Archive, tmp_path: Path) -> None:
    published = read_pointer(archive.table, archive.store)
    other = published.model_copy(update={"bundle_uri": archive.models[1].uri})
    with pytest.raises(TableError, match="publish again"):
        load(archive, other, tmp_path)
    none = published.model_copy(update={"bundle_uri": f"{archive.root}/none"})
    with pytest.raises(BundleError, match="no bundle"):
        load(archive, none, tmp_path)


@pytest.mark.parametrize(("change", "message"), [({"code": b"12345"}, "32 bits"), ({}, "two rows")])
def test_refuses_rows_that_do_not_fit(
    archive: Archive, root: str, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    row = archive.rows[archive.versions[0]].slice(0, 1).to_pylist()[0]
    other = Archive(archive.store, root, archive.models)
    commit(other, archive.models[0], 1, [row, row | change | ({"chip_id": "x"} if change else {})], None)
    published = read_pointer(archive.table, archive.store)
    with pytest.raises(TableError, match=message):
        load(other, published.model_copy(update={"table_version": 1}), tmp_path)


def test_a_folder_that_another_replica_removes_meanwhile(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the listing of what is built and the look at how old it is."""
    published = read_pointer(archive.table, archive.store)
    load(archive, published.model_copy(update={"table_version": 0}), tmp_path)
    (built,) = (path for path in tmp_path.iterdir() if path.is_dir())
    glob = Path.glob

    def listed_then_removed(folder: Path, pattern: str) -> list[Path]:
        found = list(glob(folder, pattern))
        shutil.rmtree(built, ignore_errors=True)
        return found

    monkeypatch.setattr(Path, "glob", listed_then_removed)
    assert len(load(archive, published, tmp_path).index.codes) > 0
