"""A small archive with a published table on the S3 server, and the service over it.

Shapes: N chips, H x W pixels, C bands, Y bytes a code.
"""

import hashlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from model.bundle import Manifest, pack_bundle
from model.codes import hamming_distances, unpack
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.demo.objectstore import free_port
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.footprints import footprint
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import Grid, read_chips
from pipelines.imagery.pixels import PixelSpec
from pipelines.imagery.raster import open_raster
from pipelines.imagery.window import chip_id
from pipelines.registry.bundles import write_bundle
from pipelines.serve.config import ServeConfig
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable, Shard
from pipelines.table.pointer import Published, find_pointer, publish
from pipelines.table.schema import FILE_SCHEMA

if TYPE_CHECKING:
    from pipelines.serve.app import Ingress

KEY = "a key for tests"
ORIGIN = "https://maps.example.org"
ADMIN_KEY = "an admin's key for tests"


@dataclass(frozen=True)
class Model:
    """A bundle that has been written."""

    uri: str
    manifest: Manifest
    network: HashNetwork


@dataclass
class Archive:
    """Scenes, bundles and a table below one prefix; ``rows`` per published version, sorted by chip id."""

    store: Store
    root: str
    models: list[Model]
    rows: dict[int, pa.Table] = field(default_factory=dict)
    model_of: dict[int, Model] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    """Of the table: 0 is the first unit, 1 has one more scene, 2 is another model's, 3 has the scenes of 0 in
    codes of two parts."""

    @property
    def table(self) -> str:
        return f"{self.root}/table"

    def publish(self, version: int, **changes: object) -> None:
        news = self.published(version).model_copy(update=changes)
        publish(self.table, self.store, news, find_pointer(self.table, self.store))

    def published(self, version: int) -> Published:
        """What says that a version is published; the pointer doesn't."""
        model = self.model_of[version]
        return Published(
            table_version=version,
            model_id=model.manifest.model_id,
            bundle_uri=model.uri,
            run_id=f"run-{version}",
            published_at=datetime(2026, 1, 2, tzinfo=UTC),
            gate={},
        )

    def code(self, row: int, version: int | None = None) -> np.ndarray:
        rows = self.rows[self.versions[0] if version is None else version]
        return np.frombuffer(rows["code"][row].as_py(), np.uint8)

    def distinct_codes(self) -> int:
        return len(set(self.rows[self.versions[0]]["code"].to_pylist()))

    def nearest(
        self, code_Y: np.ndarray, version: int | None = None, leave_out: str | None = None
    ) -> list[tuple[int, str]]:
        """All chips of a version as (distance, chip id), by brute force."""
        rows = self.rows[self.versions[0] if version is None else version]
        codes_NY = np.stack([np.frombuffer(code, np.uint8) for code in rows["code"].to_pylist()])
        distances_N = hamming_distances(code_Y[None], codes_NY)[0].tolist()
        pairs = sorted(zip(distances_N, rows["chip_id"].to_pylist(), strict=True))
        return [pair for pair in pairs if pair[1] != leave_out]

    def like_picture(self, image_HWC: np.ndarray, version: int | None = None) -> list[tuple[float, str]]:
        """All chips of a version as (distance, chip id) from a picture's real values, by brute force."""
        version = self.versions[0] if version is None else version
        network = self.model_of[version].network
        outputs_K = network.outputs(network.extract([image_HWC]))[0]
        parts = network.network_spec.code.parts
        ends = np.cumsum([part.bits for part in parts])[:-1]
        means = [np.abs(outputs).mean() for outputs in np.split(outputs_K, ends)]
        means_K = np.repeat(means, [part.bits for part in parts])
        weights_K = np.minimum(np.rint(8 * np.abs(outputs_K.astype(float)) / means_K), 15)
        weights_K *= np.repeat([part.weight for part in parts], [part.bits for part in parts])
        rows = self.rows[version]
        codes_NY = np.stack([np.frombuffer(code, np.uint8) for code in rows["code"].to_pylist()])
        distances_N = (unpack(codes_NY) ^ (outputs_K > 0)) @ weights_K / 8
        return sorted(zip(distances_N.tolist(), rows["chip_id"].to_pylist(), strict=True))

    def ids(self) -> list[str]:
        """The chip ids of the first version."""
        ids: list[str] = self.rows[self.versions[0]]["chip_id"].to_pylist()
        return ids

    def row_at(self, scene: str, x: int, y: int) -> int:
        """The row of the first version whose chip is there in the scene."""
        rows = self.rows[self.versions[0]].to_pylist()
        return next(
            number
            for number, row in enumerate(rows)
            if row["uri"].endswith(scene) and (row["window"]["x"], row["window"]["y"]) == (x, y)
        )

    def pixels(self, row: int) -> np.ndarray:
        """A chip_HWC of the first version."""
        values = self.rows[self.versions[0]].slice(row, 1).to_pylist()[0]
        x, y, w, h = values["window"].values()
        with open_raster(self.store.read(values["uri"])) as dataset:
            pixels_CHW = dataset.read()[:, y : y + h, x : x + w]
        return np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0))


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def _model(store: Store, root: str, seed: int, kind_bits: int, look_bits: int) -> Model:
    torch.manual_seed(seed)
    network = HashNetwork(
        NetworkSpec(
            backbone="resnet18", node="layer1", kind_bits=kind_bits, look_bits=look_bits, kind_weight=3
        ),
        InputSpec(size=16),
    ).eval()
    manifest, files = pack_bundle(network, "tiny", ("field", "water"), f"run-{seed}", {})
    uri = f"{root}/bundles/{seed}"
    write_bundle(uri, files, store)
    return Model(uri, manifest, network)


def _write_scene(store: Store, uri: str, seed: int, west: float | None) -> None:
    """A scene of 64 x 64 pixels, .1 degree each; without a place where ``west`` is None."""
    rng = np.random.default_rng(seed)
    pixels_CHW = (rng.integers(0, 256, (3, 8, 8), np.uint8)).repeat(8, 1).repeat(8, 2)
    pixels_CHW ^= rng.integers(0, 16, pixels_CHW.shape, np.uint8)
    if west is None:
        store.write(uri, png(pixels_CHW.transpose(1, 2, 0)))
        return
    place = Affine(0.1, 0, west, 0, -0.1, 10)
    profile = {"driver": "GTiff", "dtype": "uint8", "crs": "EPSG:4326", "transform": place}
    with MemoryFile() as memory:
        with memory.open(width=64, height=64, count=3, **profile) as dataset:
            dataset.write(pixels_CHW)
        store.write(uri, bytes(memory.read()))


def _scene_rows(store: Store, uri: str, number: int, network: HashNetwork) -> list[dict[str, object]]:
    with open_raster(store.read(uri)) as dataset:
        chips = list(read_chips(dataset, None, Grid(16), PixelSpec((1, 2, 3))))
        outlines = [footprint(georeference(dataset), chip.window) for chip in chips]
    codes_NY = network.encode(torch.from_numpy(np.stack([chip.pixels_HWC for chip in chips])))
    return [
        {
            "chip_id": chip_id(uri, chip.window),
            "uri": uri,
            "etag": f"etag-{number}",
            "window": dict(zip("xywh", chip.window, strict=True)),
            "bbox": outline and outline.bbox,
            "geometry": outline and outline.geometry,
            "datetime": _day_of(number) if number or place % 2 else None,
            "collection": "tests",
            "properties": [],
            "valid_fraction": 1.0,
            "cut": ChipSpec(Grid(16), PixelSpec((1, 2, 3))).text(),
            "code": code_Y.tobytes(),
            "run_id": "run",
            "encoded_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        for place, (chip, outline, code_Y) in enumerate(zip(chips, outlines, codes_NY, strict=True))
    ]


def _day_of(scene: int) -> datetime:
    """A day of January for the first three scenes and the fifth, one of March for the fourth."""
    return datetime(2025, 3 if scene == 3 else 1, 1 + scene, tzinfo=UTC)


def commit(
    archive: Archive, model: Model, number: int, rows: list[dict[str, object]], old: int | None
) -> None:
    """Append rows as the model's ``number``-th unit; version ``old`` and they are the new version."""
    CodeTable(archive.table, archive.store).create()
    content = io.BytesIO()
    fresh = pa.Table.from_pylist(rows, FILE_SCHEMA)
    pq.write_table(fresh, content)
    shard = Shard(f"{uuid4().hex}.parquet", content.tell(), len(rows))
    archive.store.write(f"{archive.table}/{shard.path}", content.getvalue())
    version = CodeTable(archive.table, archive.store).commit_unit(
        [shard], model.manifest.model_id, number, {"run_id": "run"}
    )
    before = [] if old is None else [archive.rows[old]]
    archive.rows[version] = pa.concat_tables([*before, fresh]).sort_by("chip_id").combine_chunks()
    archive.model_of[version] = model
    archive.versions.append(version)


def make_archive(store: Store, name: str) -> Archive:
    """Four scenes: two at one place, one over the antimeridian, one nowhere; and a fifth in version 1.

    ``name``: of its prefix. Chip ids follow from it, and with them the order of the rows.
    """
    root = f"s3://archive/{name}"
    models = [_model(store, root, *each) for each in ((1, 32, 0), (2, 32, 0), (3, 16, 16))]
    archive = Archive(store, root, models)
    uris = [f"{root}/scenes/{number}.tif" for number in range(5)]
    for number, (uri, west) in enumerate(zip(uris, (0, 0, 179.2, None, 40), strict=True)):
        _write_scene(store, uri, number, west)
    rows = [_scene_rows(store, uri, number, models[0].network) for number, uri in enumerate(uris)]
    commit(archive, models[0], 1, [row for scene in rows[:4] for row in scene], None)
    commit(archive, models[0], 2, rows[4], archive.versions[0])
    commit(archive, models[1], 1, _scene_rows(store, uris[0], 0, models[1].network), None)
    in_parts = [_scene_rows(store, uri, number, models[2].network) for number, uri in enumerate(uris[:4])]
    commit(archive, models[2], 1, [row for scene in in_parts for row in scene], None)
    archive.publish(archive.versions[0])
    return archive


@pytest.fixture(scope="session")
def archive(store: Store) -> Archive:
    """`make_archive` in the bucket; once a process, as its name and so its commits are always the same."""
    return make_archive(store, "for-serving")


@pytest.fixture(scope="package")
def alone(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> "Ingress":
    """An ingress in this process over the whole archive. It takes no pictures, and makes none."""
    from pipelines.serve.app import Ingress

    config = ServeConfig(
        table=archive.table,
        store=archive.store.config,
        open=True,
        index_folder=tmp_path_factory.mktemp("indices"),
        poll_seconds=3600,
    )
    return Ingress(config, [], None, None)  # type: ignore[arg-type]


@pytest.fixture(scope="package")
def url(archive: Archive, ray_local: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service over the archive: two shards, two replicas of each."""
    from pipelines.serve.run import serving

    config = ServeConfig(
        table=archive.table,
        admin_key_hashes=(hashlib.sha256(ADMIN_KEY.encode()).hexdigest(),),
        store=archive.store.config,
        port=free_port(),
        index_folder=tmp_path_factory.mktemp("indices"),
        key_hashes=(hashlib.sha256(KEY.encode()).hexdigest(),),
        cors_origins=(ORIGIN,),
        watches=f"{archive.root}/watches",
        watch_hits=f"{archive.root}/hits",
        poll_seconds=0.2,
        timeout_seconds=10,
        shards=2,
        shard_replicas=2,
        shard_cpus=0.1,
        max_upload_mb=0.2,
        max_image_pixels=40_000,
    )
    with serving(config) as url:
        yield url


@pytest.fixture(scope="package")
def http(url: str) -> Iterator[httpx.Client]:
    """A connection to the service, with its key."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as client:
        yield client


def wait_for(http: httpx.Client, version: int) -> None:
    """Wait until all replicas of the shards follow, and the encoder."""
    deadline, right = time.monotonic() + 60, 0
    while right < 10:  # in a row: of each shard another replica may answer
        served = http.get("/v1/snapshot").json()
        follows = (served["snapshot"], served["refused"]) == (version, None)
        right = right + 1 if follows and http.get("/readyz").is_success else 0
        assert time.monotonic() < deadline
        time.sleep(0.02)
