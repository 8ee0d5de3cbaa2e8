"""Code tables written without Ray: shards of given codes, committed as a night commits them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import shapely

from model.bundle import Manifest, pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.encode.chips import CHIP
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.registry.bundles import write_bundle
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.schema import CODE_SCHEMA
from tests.pipelines.unit_rows import as_unit


@dataclass(frozen=True)
class Night:
    """Encodes without pixels: what a unit's commit looks like to all that comes after it."""

    table: CodeTable
    model_id: str

    def commit(
        self,
        codes: dict[str, np.ndarray],
        etag: str = "1",
        rejected: tuple[str, ...] = (),
        *,
        is_last: bool = True,
    ) -> int:
        """Commit one unit, uri -> codes_NY of its chips; return the table's version."""
        self.table.create()
        result = self.write(codes, etag, rejected)
        self.table.commit_rejects(result.rejects)
        number = self.table.commits(self.model_id) + 1
        lineage = {"run_id": "run"}
        return self.table.commit_unit(result.shards, self.model_id, number, lineage, is_last=is_last)

    def write(
        self, codes: dict[str, np.ndarray], etag: str = "1", rejected: tuple[str, ...] = ()
    ) -> UnitResult:
        """Write a unit's shards, of chips that lie all over the world; no commit names them yet."""
        rows = [
            {
                "outcome": CHIP,
                "chip_id": f"{uri}-{number}",
                "uri": uri,
                "etag": etag,
                "window": {"x": number, "y": 0, "w": 1, "h": 1},
                "bbox": None
                if uri.startswith("nowhere")
                else dict(zip(SIDES, (x, y, x + 1, y + 1), strict=True)),
                "geometry": shapely.to_wkb(shapely.box(x, y, x + 1, y + 1), byte_order=1),
                "datetime": datetime(2026, 1, 1, tzinfo=UTC),
                "collection": "tests",
                "valid_fraction": 1.0,
                "cut": CUT,
                "bytes_read": 0,
                "pixels_opened": 1,
                "pixels_covered": 1,
                "code": code_Y.tobytes(),
            }
            for uri, codes_NY in codes.items()
            for number, code_Y in enumerate(codes_NY)
            for x, y in [(float(hash_of(uri, number) % 359 - 180), float(hash_of(uri, number) % 177 - 89))]
        ]
        rows += [{"outcome": "empty", "detail": "", "uri": uri, "etag": etag, "cut": CUT} for uri in rejected]
        objects, block = as_unit(rows)
        lineage = Lineage(self.model_id, "run")
        return write_unit(self.table.uri, self.table.store, lineage, objects, [block])

    @staticmethod
    def random_codes(objects: int, chips: int, seed: int = 0, num_bytes: int = 4) -> dict[str, np.ndarray]:
        """Codes of objects, evenly spread; other seeds give other objects."""
        rng = np.random.default_rng(seed)
        return {
            f"s{seed}-{number:04}": rng.integers(0, 256, (chips, num_bytes), np.uint8)
            for number in range(objects)
        }

    def age(self, hours: float) -> None:
        """Make the data files of a table on disk older."""
        past = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
        for path in Path(self.table.uri).glob("*/*.parquet*"):
            os.utime(path, (past, past))

    def rows(self, version: int | None = None) -> list[dict[str, object]]:
        """All of the model's rows, in the order of their chip ids."""
        rows = self.table.read(self.model_id, CODE_SCHEMA.names, version).to_pylist()
        return sorted(rows, key=lambda row: str(row["chip_id"]))


CUT = '{"bands":[1,2,3],"chip_size":1}'
SIDES = ("xmin", "ymin", "xmax", "ymax")


def hash_of(uri: str, number: int) -> int:
    """Return a number that spreads chips over the world, the same in each run."""
    return (sum(uri.encode()) * 7919 + number * 104_729) % 1_000_003


@pytest.fixture
def night(store: Store, any_root: str) -> Night:
    """A night over a new table, on disk and in the bucket."""
    return Night(CodeTable(f"{any_root}/codes", store), "demo@0123456789ab")


@pytest.fixture
def local_night(store: Store, tmp_path) -> Night:
    """A night over a new table on disk: where the store makes no difference."""
    return Night(CodeTable(f"{tmp_path}/codes", store), "demo@0123456789ab")


def make_model(
    store: Store, root: str, name: str, kind_bits: int = 32, look_bits: int = 0
) -> tuple[str, Manifest]:
    """Write an untrained bundle below a root; return its URI and manifest."""
    network = HashNetwork(
        NetworkSpec(
            backbone="resnet18", node="layer1", kind_bits=kind_bits, look_bits=look_bits, kind_weight=3
        ),
        InputSpec(size=16),
    ).eval()
    manifest, files = pack_bundle(network, name, ("a", "b"), "run", {})
    write_bundle(f"{root}/bundles/{name}", files, store)
    return f"{root}/bundles/{name}", manifest


@pytest.fixture(scope="session")
def write_model(store: Store) -> Callable[..., tuple[str, Manifest]]:
    """`make_model` in the bucket."""
    return partial(make_model, store)
