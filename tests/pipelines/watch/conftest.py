"""A table that nights add to, publish and take back, and watches over it.

Shapes: N chips, Y bytes a code.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import WatchError
from pipelines.table.pointer import Published, find_pointer, publish
from pipelines.watch.add import add_watch
from pipelines.watch.config import AddWatchConfig, RunWatchesConfig
from pipelines.watch.run import run_watches

ZEROS = np.zeros((1, 4), np.uint8)


def code_at(distance: int) -> np.ndarray:
    """A code of 32 bits with so many of them on, codes_NY of one chip: so far from `ZEROS`."""
    bits = np.arange(32) < distance
    return np.packbits(bits, bitorder="little")[None]


@dataclass(frozen=True)
class Site:
    """One archive, and what is watched in it."""

    night: object
    bundle: str
    root: str

    @property
    def store(self):
        return self.night.table.store

    def of_model(self, night, bundle: str) -> "Site":
        return replace(self, night=night, bundle=bundle)

    def encode(self, codes: dict[str, np.ndarray], etag: str = "1") -> int:
        """A night without publishing: objects (uri -> codes_NY); those that are there are replaced."""
        table = self.night.table
        if table.exists():
            for uri in codes:
                table.open().delete(f"uri = '{uri}' and model_id = '{self.night.model_id}'")
        return self.night.commit(codes, etag)

    def remove(self, uri: str) -> int:
        self.night.table.open().delete(f"uri = '{uri}'")
        return self.night.table.open().version()

    def publish(self, version: int, restores: int | None = None) -> Published:
        rows = self.night.rows(version)
        news = Published(
            table_version=version,
            model_id=self.night.model_id,
            bundle_uri=self.bundle,
            run_id="r",
            published_at=datetime.now(UTC),
            gate={},
            restores=restores,
            encoded_until=max((row["encoded_at"] for row in rows), default=None),
        )
        uri = self.night.table.uri
        return publish(uri, self.store, news, find_pointer(uri, self.store))

    def night_of(self, codes: dict[str, np.ndarray], etag: str = "1") -> Published:
        return self.publish(self.encode(codes, etag))

    def add(self, name: str = "ships", **options):
        if not options.keys() & {"chip_id", "code", "image"}:
            options["code"] = ZEROS.tobytes().hex()
        options = {"table": self.night.table.uri, "max_distance": 4} | options
        return add_watch(
            AddWatchConfig(watches=f"{self.root}/watches", store=self.store.config, name=name, **options)
        )

    def run(self, name: str | None = None):
        return run_watches(
            RunWatchesConfig(
                watches=f"{self.root}/watches",
                output=f"{self.root}/hits",
                store=self.store.config,
                name=name,
            )
        )

    def run_badly(self, name: str | None = None) -> WatchError:
        with pytest.raises(WatchError) as caught:
            self.run(name)
        return caught.value

    def look(self, name: str = "ships") -> list[str]:
        """Run one watch; the chips of its new hits, in their order."""
        outcome = self.run(name).watches[0]
        lines = [line for file in outcome.files if file.endswith(".jsonl") for line in self._lines(file)]
        assert outcome.hits == len(lines)
        return [line["chip_id"] for line in lines]

    def written(self, name: str = "ships") -> dict[str, list[tuple[str, str]]]:
        """All hits in a watch's files, by the file's stem: (chip id, etag)."""
        found = {}
        page = self.store.page(f"{self.root}/hits/{name}")
        for file in (found.uri for found in page.objects):
            stem, _, kind = Path(file).name.rpartition(".")
            if kind == "jsonl":
                keys = [(line["chip_id"], line["etag"]) for line in self._lines(file)]
            else:
                features = json.loads(self.store.read(file))["features"]
                keys = [(feature["id"], feature["properties"]["etag"]) for feature in features]
            assert found.setdefault(stem, keys) == keys, "both files say the same"
        return found

    def all_written(self, name: str = "ships") -> list[tuple[str, str]]:
        return sorted(key for keys in self.written(name).values() for key in keys)

    def _lines(self, file: str) -> list[dict]:
        return [json.loads(line) for line in self.store.read(file).splitlines()]


def site_of(night, root, write_model) -> Site:
    bundle, manifest = write_model(root, "tiny")
    return Site(replace(night, model_id=manifest.model_id), bundle, root)


@pytest.fixture
def site(night, any_root, write_model) -> Site:
    """On disk and in the bucket."""
    return site_of(night, any_root, write_model)


@pytest.fixture
def local_site(local_night, tmp_path, write_model) -> Site:
    """On disk."""
    return site_of(local_night, str(tmp_path), write_model)
