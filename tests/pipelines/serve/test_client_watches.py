"""Both clients ask for watches, and for the hits of one that ran."""

import pytest

from pipelines.client import HitsParameters
from pipelines.errors import NotFoundError
from pipelines.watch.add import add_watch, remove_watch
from pipelines.watch.config import AddWatchConfig, RemoveWatchConfig, RunWatchesConfig
from pipelines.watch.run import run_watches
from tests.pipelines.serve.conftest import Archive
from tests.pipelines.serve.test_client import ask


def test_watches_and_their_hits(archive: Archive, url: str) -> None:
    folders = {"watches": f"{archive.root}/watches", "store": archive.store.config, "name": "fields"}
    chip = archive.ids()[4]
    nearest = archive.nearest(archive.code(4), leave_out=chip)[:20]
    within = nearest[-1][0]
    expected = [pair for pair in archive.nearest(archive.code(4), leave_out=chip) if pair[0] <= within]
    options = {"table": archive.table, "chip_id": (chip,), "max_distance": within, "from_start": True}
    add_watch(AddWatchConfig(**folders, **options))
    try:
        run_watches(RunWatchesConfig(**folders, output=f"{archive.root}/hits"))
        (watch,) = ask(url, "watches").watches
        assert (watch.name, watch.example.chip_ids, watch.hits) == ("fields", (chip,), len(expected))
        hits = [(hit.properties.distance, hit.id) for hit in ask(url, "hits", "fields").features]
        assert hits == expected
        page = ask(url, "hits", "fields", HitsParameters(limit=3))
        assert [hit.id for hit in page.features] == [chip_id for _, chip_id in expected[:3]]
        with pytest.raises(NotFoundError, match="boats"):
            ask(url, "hits", "boats")
    finally:
        remove_watch(RemoveWatchConfig(**folders))
        archive.store.remove_folder(f"{archive.root}/hits")
