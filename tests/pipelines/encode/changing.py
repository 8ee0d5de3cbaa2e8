"""An archive that changes between two nights, and what then stands in the tables.

Shapes: H x W pixels, C bands.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from pipelines.encode.config import EncodeConfig
from pipelines.encode.encoder import Encoder
from pipelines.encode.run import run_encode
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import Published, find_pointer, publications
from pipelines.table.schema import CODE_SCHEMA

_LINEAGE = ("run_id", "encoded_at")
CHIPS = 4  # of each scene


@dataclass(frozen=True)
class Archive:
    """Scenes below a prefix, and the config of a night over them with several units."""

    root: str
    config: EncodeConfig
    store: Store
    geotiff: Callable[..., bytes]
    model_id: str

    @classmethod
    def below(
        cls, root: str, store: Store, write_model: Callable[..., tuple], geotiff: Callable[..., bytes]
    ) -> "Archive":
        """Return an archive below a root, empty as yet, with an untrained bundle beside it."""
        bundle, manifest = write_model(root, "tiny")
        config = EncodeConfig(
            source=f"{root}/scenes",
            table=f"{root}/codes",
            bundle=bundle,
            chip_size=16,
            objects_per_unit=3,
            prune=True,
            max_prune_share=0.5,
            store=store.config,
        )
        return cls(root, config, store, geotiff, manifest.model_id)

    def first_day(self) -> None:
        """Put six scenes and two broken objects there: three units."""
        self._put({f"{number:03}.tif": self._scene(number) for number in range(6)})
        self._put({"text.tif": b"not a raster", "zero.tif": b""})

    def second_day(self) -> None:
        """Change three, one to a broken one; mend one, remove one, add two: two units, old rows in two."""
        self._put({"001.tif": self._scene(101), "004.tif": self._scene(104)[:-300]})
        self._put({"006.tif": self._scene(106), "html.tif": b"<html>", "text.tif": self._scene(107)})
        self.store.remove(f"{self.config.source}/005.tif")

    def _put(self, contents: dict[str, bytes]) -> None:
        for name, content in contents.items():
            self.store.write(f"{self.config.source}/{name}", content)

    def _scene(self, number: int) -> bytes:
        pixels_HWC = np.random.default_rng(number).integers(1, 255, (32, 32, 3), np.uint8)
        return self.geotiff(pixels_HWC, west=float(number % 100))

    def night(self, table: str) -> EncodeConfig:
        """Return the config of a night that writes to the table of this name."""
        return self.config.model_copy(update={"table": f"{self.root}/{table}"})

    def state(self, name: str) -> dict[str, object]:
        """Return what is published and what was rejected, lineage aside; empty where nothing is published."""
        table_uri = f"{self.root}/{name}"
        published = find_pointer(table_uri, self.store)
        if published is None:
            return {}
        rejects = (
            CodeTable(table_uri, self.store)
            .stream_rejects(self.model_id, ["uri", "etag", "reason"])
            .read_all()
        )
        return {
            "publications": [self._rows(table_uri, entry) for entry in publications(table_uri, self.store)],
            "rejects": sorted({tuple(row.values()) for row in rejects.to_pylist()}),
            "gate": published.gate,
            "bits_on": published.bits_on,
        }

    def _rows(self, table_uri: str, published: Published) -> list[dict[str, object]]:
        """Return what is or was published, lineage aside, in the order of chip ids, each once."""
        columns = [name for name in CODE_SCHEMA.names if name not in _LINEAGE]
        table = CodeTable(table_uri, self.store)
        rows = table.read(self.model_id, columns, published.table_version).to_pylist()
        assert len({row["chip_id"] for row in rows}) == len(rows), "a chip stands twice"
        return sorted(rows, key=lambda row: str(row["chip_id"]))

    def check_objects_are_whole(self, name: str) -> None:
        """Check that of each object all chips stand in the newest version, or none."""
        table = CodeTable(f"{self.root}/{name}", self.store)
        if table.exists():
            objects = table.read(self.model_id, ["uri", "etag"]).group_by(["uri", "etag"])
            counts = objects.aggregate([([], "count_all")])["count_all"]
            assert set(counts.to_pylist()) <= {CHIPS}

    def spoil_orphans(self, name: str) -> int:
        """Overwrite the data files that no commit names, so that whoever reads one fails; return how many."""
        table_uri = f"{self.root}/{name}"
        if not CodeTable(table_uri, self.store).exists():
            return 0
        files = [info.uri for info in self.store.list(table_uri)]
        log = b"".join(self.store.read(file) for file in files if file.endswith(".json"))
        orphans = [
            file for file in files if "/model_id=" in file and file.rsplit("/", 1)[1].encode() not in log
        ]
        for file in orphans:
            self.store.write(file, b"spoilt")
        return len(orphans)


class LoadedOnce:
    """Encoders of this process, each loaded once; two threads can't load a network at once (torch.fx)."""

    encoder = staticmethod(cache(Encoder))
    one_at_a_time = threading.Lock()

    def __call__(self, *args: object, **options: object) -> Encoder:
        with self.one_at_a_time:
            return self.encoder(*args, **options)


def encode_in_process(monkeypatch: pytest.MonkeyPatch, open_units: int = 1) -> None:
    """Let nights encode in this process, without Ray; with one open unit their operations have one order."""
    monkeypatch.setattr("pipelines.encode.night.suffices", lambda config, objects: True)
    monkeypatch.setattr("pipelines.encode.in_process.Encoder", LoadedOnce())
    monkeypatch.setattr("pipelines.encode.in_process.MOST_READERS", 1)
    monkeypatch.setattr("pipelines.encode.stream.OPEN_UNITS", open_units)


def wait_for_commits(archive: Archive, at_least: int, going_on: Callable[[], bool]) -> None:
    """Wait until so many units are committed, or the night is over."""
    table = CodeTable(archive.night("codes").table, archive.store)
    while going_on() and not (table.exists() and table.commits(archive.model_id) >= at_least):
        time.sleep(0.05)


def assert_as_undisturbed(archive: Archive) -> None:
    """Check that the table `codes` is like that of a night in one process, row for row, lineage aside."""
    with pytest.MonkeyPatch.context() as patch:
        encode_in_process(patch)
        run_encode(archive.night("undisturbed"))
    (rows, *_), rejects = (archive.state("codes")[name] for name in ("publications", "rejects"))
    undisturbed = archive.state("undisturbed")
    assert ([rows], rejects) == (undisturbed["publications"], undisturbed["rejects"])
