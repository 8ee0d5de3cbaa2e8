"""What is refused before it is served, and what is looked up."""

import pytest

from pipelines.errors import BundleError, TableError
from pipelines.pointer import read_pointer
from pipelines.serve.config import ServeConfig
from pipelines.serve.run import run_serve
from pipelines.serve.snapshot import load_snapshot
from pipelines.storage import Store
from tests.pipelines.serve.conftest import Archive, commit


def test_a_missing_table_is_told_before_anything_starts(store: Store, root: str) -> None:
    with pytest.raises(TableError, match="nothing is published"):
        run_serve(ServeConfig(table=f"{root}/none", store=store.config, open=True))


def test_finds_every_chip_and_no_other(archive: Archive) -> None:
    snapshot = load_snapshot(archive.table, read_pointer(archive.table, archive.store), archive.store)
    assert [snapshot.find(chip) for chip in archive.ids()] == list(range(64))
    assert [snapshot.find(stranger) for stranger in ("", "zzz", archive.ids()[0] + "0")] == [None] * 3


def test_an_empty_version_can_be_served(archive: Archive) -> None:
    published = read_pointer(archive.table, archive.store).model_copy(update={"table_version": 0})
    snapshot = load_snapshot(archive.table, published, archive.store)
    assert (len(snapshot.index), snapshot.find("x"), snapshot.places.chip_at(0, 0)) == (0, None, None)


def test_refuses_another_models_bundle(archive: Archive) -> None:
    published = read_pointer(archive.table, archive.store)
    other = published.model_copy(update={"bundle_uri": archive.models[1].uri})
    with pytest.raises(TableError, match="publish again"):
        load_snapshot(archive.table, other, archive.store)
    none = published.model_copy(update={"bundle_uri": f"{archive.root}/none"})
    with pytest.raises(BundleError, match="no bundle"):
        load_snapshot(archive.table, none, archive.store)


@pytest.mark.parametrize(("change", "message"), [({"code": b"12345"}, "32 bits"), ({}, "two rows")])
def test_refuses_rows_that_do_not_fit(
    archive: Archive, root: str, change: dict[str, object], message: str
) -> None:
    row = archive.rows[archive.versions[0]].slice(0, 1).to_pylist()[0]
    other = Archive(archive.store, root, archive.models)
    commit(other, archive.models[0], 1, [row, row | change | ({"chip_id": "x"} if change else {})], None)
    published = read_pointer(archive.table, archive.store)
    with pytest.raises(TableError, match=message):
        load_snapshot(other.table, published.model_copy(update={"table_version": 1}), archive.store)
