"""A published archive to serve: chips of a made-up world, in two versions; and a service that does nothing.

Shapes: N chips, Y bytes a code.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
import torch
from fastapi import FastAPI, Request, Response
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from benchmarks import codes
from model.bundle import pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec
from pipelines.registry.bundles import write_bundle
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable, Shard
from pipelines.table.pointer import Published, find_pointer, publish
from pipelines.table.schema import FILE_SCHEMA

BITS = 64
_FILE = 250_000  # chips
_NEWER = 1000  # chips that only the second version has
_SCENE = 64  # chips
_PLACES = 500_000  # each has a chip of another date for every so many chips
_STRIPS_AROUND = 3600 // _SCENE  # along a parallel, of chips of .1 degree
_SCATTER = 40_503  # has no factor that the number of strips has, so no two are at one place
_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


def build(folder: Path, chips: int, store: Store) -> list[codes.Codes]:
    """Write a bundle and a table of two versions; return codes_NY of each, rows in the order of chip ids."""
    torch.manual_seed(0)
    network = HashNetwork(NetworkSpec(kind_bits=BITS), InputSpec(size=150)).eval()
    manifest, files = pack_bundle(network, "bench", (), "bench", {})
    bundle = str(folder / "bundle")
    write_bundle(bundle, files, store)
    table = CodeTable(str(folder / "table"), store)
    table.create()
    codes_NY = codes.learned_like(chips + _NEWER, BITS, seed=1)
    versions = []
    for number, (first, last) in enumerate([(0, chips), (chips, chips + _NEWER)], start=1):
        shards = []
        for start in range(first, last, _FILE):
            rows = slice(start, min(start + _FILE, last))
            path = f"{number}-{start}.parquet"
            file = folder / "table" / path
            pq.write_table(table_rows(rows, codes_NY[rows]), file)
            shards.append(Shard(path, file.stat().st_size, rows.stop - rows.start))
        versions.append(table.commit_unit(shards, manifest.model_id, number, {"run_id": "bench"}))
    _publish(table, store, manifest.model_id, bundle, versions[0])
    return [codes_NY[:chips], codes_NY]


def chip_id(number: int) -> str:
    """Return a chip's id: they sort as the numbers do."""
    return f"{number:024x}"


def table_rows(rows: slice, codes_NY: codes.Codes) -> pa.Table:
    """Return rows of the table, by number."""
    numbers = np.arange(rows.start, rows.stop)
    count, scenes = len(numbers), numbers // _SCENE
    places = numbers % _PLACES
    # a scene is a strip somewhere in the world
    strips = places // _SCENE * _SCATTER % (_STRIPS_AROUND * 1700)
    west = (strips % _STRIPS_AROUND * _SCENE + places % _SCENE) / 10 - 180
    south = strips // _STRIPS_AROUND / 10 - 85
    boxes = shapely.box(west, south, west + 0.1, south + 0.1)
    window = pa.StructArray.from_arrays(
        [pa.array(np.full(count, side, np.int32)) for side in (0, 0, 256, 256)], names=list("xywh")
    )
    bbox = pa.StructArray.from_arrays(
        [pa.array(side) for side in (west, south, west + 0.1, south + 0.1)],
        names=["xmin", "ymin", "xmax", "ymax"],
    )
    stamp = pa.timestamp("us", tz="UTC")
    columns = {
        "chip_id": pa.array([chip_id(number) for number in numbers.tolist()]),
        "uri": pa.array([f"s3://archive/scenes/{scene:08}.tif" for scene in scenes.tolist()]),
        "etag": pa.array([f"{scene:032x}" for scene in scenes.tolist()]),
        "window": window,
        "bbox": bbox,
        "geometry": pa.array(shapely.to_wkb(boxes).tolist(), pa.binary()),
        "datetime": pa.array([_EPOCH + timedelta(hours=scene) for scene in scenes.tolist()], stamp),
        "collection": pa.array(np.where(scenes % 2, "aerial", "satellite").tolist()),
        "properties": pa.array([[]] * count, FILE_SCHEMA.field("properties").type),
        "valid_fraction": pa.array(np.ones(count, np.float32)),
        "cut": pa.array([ChipSpec(Grid(256), PixelSpec((1, 2, 3))).text()] * count),
        "code": pa.array([code_Y.tobytes() for code_Y in codes_NY], pa.binary()),
        "run_id": pa.array(["bench"] * count),
        "encoded_at": pa.array([_EPOCH] * count, stamp),
    }
    return pa.table([columns[name] for name in FILE_SCHEMA.names], schema=FILE_SCHEMA)


def publish_version(folder: Path, store: Store, number: int) -> None:
    """Publish one of the two versions (0 or 1), whichever is published by now."""
    table = CodeTable(str(folder / "table"), store)
    current = find_pointer(table.uri, store)
    assert current is not None
    _publish(table, store, current.model_id, current.bundle_uri, number + 1)


def _publish(table: CodeTable, store: Store, model_id: str, bundle: str, version: int) -> None:
    publish(table.uri, store, published(version, model_id, bundle), find_pointer(table.uri, store))


def published(version: int, model_id: str, bundle: str) -> Published:
    """Return what says that a version is published."""
    return Published(
        table_version=version,
        model_id=model_id,
        bundle_uri=bundle,
        run_id="bench",
        published_at=datetime.now(UTC),
        gate={},
    )


class Nothing:
    """In a shard's place: answers with bytes that it was given."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def ask(self, body: bytes) -> bytes:  # noqa: ARG002 - it goes over the wire, as a question does
        """Return the answer."""
        return self._answer


class NothingIngress:
    """In the ingress' place: hands the body on and the answer back, or has it where there is one shard."""

    def __init__(self, answer: bytes, shards: list[DeploymentHandle[Nothing]]) -> None:
        self._answer, self._shards = answer, shards

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the app."""
        app = FastAPI()
        app.post("/search")(self.search)
        return app

    async def search(self, request: Request) -> Response:
        """Ask every shard."""
        body = await request.body()
        answers = await asyncio.gather(*(handle.ask.remote(body) for handle in self._shards))
        return Response((answers or [self._answer])[0], media_type="application/json")


def nothing(answer: bytes, shards: int) -> Application:
    """Return a service of the same topology that neither searches nor words: the answer is ready."""
    handles = [
        serve.deployment(
            name=f"Nothing{number}", max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.1}
        )(Nothing).bind(answer)
        for number in range(shards if shards > 1 else 0)
    ]
    ingress = serve.deployment(max_ongoing_requests=512, ray_actor_options={"num_cpus": 0})
    return ingress(serve.ingress()(NothingIngress)).bind(answer, handles)
