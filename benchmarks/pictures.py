"""How pictures of large scenes are served: `python -m benchmarks.pictures`, on a real S3 server.

Scenes are Cloud Optimized GeoTIFFs of made-up imagery: three of 300 MB (Deflate), and many of 26 MB (JPEG).
The service is asked for WebP of 256 pixels, over HTTP, for all at once, and keeps no pictures on disk. Each
object is read for the first time. A proxy counts what is read of the store, and adds 40 ms to each request.
Last, a scene of 2 GB is cut at a quarter of its resolution, as a night does.
"""

import argparse
import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from PIL import Image
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.windows import Window
from rich.console import Console

from benchmarks import codes, served
from benchmarks.quarter import CHIP_SIZE, METRES
from benchmarks.slow_store import SlowStore, slow_store
from benchmarks.traffic import KEY
from model.bundle import pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY, free_port, object_store
from pipelines.imagery.window import chip_id
from pipelines.registry.bundles import write_bundle
from pipelines.runtime.cluster import connected
from pipelines.serve.config import ServeConfig
from pipelines.serve.proxy import haproxy
from pipelines.serve.run import serving
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable, Shard
from pipelines.table.pointer import publish

_PICTURES, _DELAY = 60, 0.04
_STEP = 1024  # pixels from one chip to the next
_DEFLATE_SIDE, _JPEG_SIDE, _LARGE_SIDE = 9_216, 9_472, 22_528  # pixels: 300 MB, 26 MB, 2 GB
_BUCKET = "s3://bench"

_print = Console().print


def main() -> None:
    """Measure, print, and give the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the scene of 2 GB with a quarter of the side")
    part = 4 if parser.parse_args().quick else 1
    os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with TemporaryDirectory(prefix="scenehash-bench-") as name:
        folder = Path(name)
        with object_store(folder / "store", "bench") as endpoint, slow_store(endpoint) as slow:
            store = Store(StoreConfig(endpoint=endpoint))
            scenes = upload(folder, store)
            figures = large(folder, part, store)
            with haproxy(), connected():
                build(scenes, store)
                figures |= timed(endpoint, folder, scenes, slow)
    print(json.dumps({"pictures": figures}))


def upload(folder: Path, store: Store) -> list[str]:
    """Write the scenes to the bucket; return their URIs: Deflate, JPEG to warm up, one more, and sixty."""
    uris = []
    for name, side, compress, count in (
        ("deflate", _DEFLATE_SIDE, "deflate", 1),
        ("jpeg", _JPEG_SIDE, "jpeg", _PICTURES + 2),
    ):
        content = cog(folder / "scene.tif", side, compress)
        _print(f"{name}: {side} pixels a side, {len(content) / 1e6:.0f} MB, {count} times")
        for number in range(count):
            uris.append(f"{_BUCKET}/scenes/{name}-{number:03}.tif")
            store.write(uris[-1], content)
    return uris


def cog(path: Path, side: int, compress: str) -> bytes:
    """Return a COG of soft noisy fields, with tiles of 512 pixels and overviews."""
    rng = np.random.default_rng(side)
    place = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, METRES, METRES)}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    plain = path.with_suffix(".plain.tif")
    with rasterio.open(
        plain, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8", **place, **tiles
    ) as scene:
        for top in range(0, side, 512):
            rows = min(512, side - top)
            fields = Image.fromarray(rng.integers(30, 200, (rows // 32 + 1, side // 32 + 1, 3), np.uint8))
            soft_HWC = np.asarray(fields.resize((side, rows), Image.Resampling.BILINEAR))
            noise_HWC = rng.integers(0, 40, (rows, side, 3), np.uint8)
            scene.write((soft_HWC + noise_HWC).transpose(2, 0, 1), window=Window(0, top, side, rows))
    quality = {"quality": 85} if compress == "jpeg" else {}
    copy(plain, path, driver="COG", compress=compress, blocksize=512, bigtiff="if_safer", **quality)
    plain.unlink()
    content = path.read_bytes()
    path.unlink()
    return content


def build(scenes: Sequence[str], store: Store) -> None:
    """Publish a table of as many chips of each scene as there are pictures of one."""
    network = HashNetwork(NetworkSpec(kind_bits=served.BITS), InputSpec(size=CHIP_SIZE)).eval()
    manifest, files = pack_bundle(network, "bench", (), "bench", {})
    write_bundle(f"{_BUCKET}/bundle", files, store)
    windows = [(scene, *place) for scene in scenes for place in places()]
    rows = served.table_rows(slice(0, len(windows)), codes.learned_like(len(windows), served.BITS, seed=1))
    sides = [pa.array([each[1 + side] for each in windows], pa.int32()) for side in range(2)]
    sides += [pa.array([CHIP_SIZE] * len(windows), pa.int32())] * 2
    etags = {scene: store.etag(scene) for scene in scenes}
    for name, values in {
        "chip_id": pa.array([chip_id(uri, (x, y, CHIP_SIZE, CHIP_SIZE)) for uri, x, y in windows]),
        "uri": pa.array([uri for uri, *_ in windows]),
        "etag": pa.array([etags[uri] for uri, *_ in windows]),
        "window": pa.StructArray.from_arrays(sides, names=list("xywh")),
    }.items():
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
    content = io.BytesIO()
    pq.write_table(rows, content)
    table = CodeTable(f"{_BUCKET}/table", store)
    table.create()
    store.write(f"{table.uri}/1.parquet", content.getvalue())
    shard = Shard("1.parquet", content.tell(), len(rows))
    version = table.commit_unit([shard], manifest.model_id, 1, {"run_id": "bench"})
    publish(table.uri, store, served.published(version, manifest.model_id, f"{_BUCKET}/bundle"), None)


def places() -> list[tuple[int, int]]:
    """Return where a scene's chips are: x and y [pixels]. They lie all over it."""
    rng = np.random.default_rng(5)
    cells = rng.permutation(81)[:_PICTURES]  # of the 9 x 9 that a scene has
    return [(int(cell % 9) * _STEP, int(cell // 9) * _STEP) for cell in cells]


def timed(endpoint: str, folder: Path, scenes: Sequence[str], slow: SlowStore) -> dict[str, float]:
    """Return what pictures cost: read of the store, and in seconds."""
    deflate, warm, jpeg, *sixty = scenes
    first, *_ = places()
    figures: dict[str, float] = {}
    read = []
    with service(slow.endpoint, folder) as url:
        ask(url, [(warm, *first)])  # the process has a connection now
        for uri in (deflate, jpeg):
            slow.count()
            ask(url, [(uri, *first)])
            read.append(slow.count())
            _print(f"one picture of {uri}: {read[-1][0]} requests, {read[-1][1] / 1e6:.3f} MB")
        slow.delay.value = _DELAY
        figures["with_latency_s"] = ask(url, [(uri, *first) for uri in sixty])
        slow.delay.value = 0
    figures["mb_a_picture"] = round(max(sent for _, sent in read) / 1e6, 3)
    figures["requests_a_picture"] = max(requests for requests, _ in read)
    with service(endpoint, folder) as url:
        ask(url, [(warm, *first)])
        figures["sixty_of_one_s"] = ask(url, [(deflate, *place) for place in places()])
        figures["sixty_of_sixty_s"] = ask(url, [(uri, *first) for uri in sixty])
        again = ask(url, [(deflate, *place) for place in places()])
        _print(f"the sixty of one scene again, which the process still has in memory: {again} s")
    return figures


def service(endpoint: str, folder: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as `serving`
    """Run the query service over the scenes, without pictures on disk."""
    config = ServeConfig(
        table=f"{_BUCKET}/table",
        store=StoreConfig(endpoint=endpoint),
        index_folder=folder / "indices",
        key_hashes=(hashlib.sha256(KEY.encode()).hexdigest(),),
        port=free_port(),
        picture_cache_mb=0,
    )
    return serving(config)


def ask(url: str, chips: Sequence[tuple[str, int, int]]) -> float:
    """Fetch pictures of chips (uri, x, y), all at once; return the seconds until the last one is there."""

    async def run() -> float:
        headers = {"Authorization": f"Bearer {KEY}", "Accept": "image/webp"}
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:

            async def fetch(uri: str, x: int, y: int) -> bytes:
                chip = chip_id(uri, (x, y, CHIP_SIZE, CHIP_SIZE))
                async with session.get(f"{url}/v1/chips/{chip}/thumbnail", params={"size": 256}) as answer:
                    body = await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"{answer.status}: {body[:500]!r}")
                    return body

            started = time.perf_counter()
            pictures = await asyncio.gather(*(fetch(*chip) for chip in chips))
            seconds = time.perf_counter() - started
        assert all(Image.open(io.BytesIO(picture)).size == (CHIP_SIZE, CHIP_SIZE) for picture in pictures)
        return round(seconds, 3)

    return asyncio.run(run())


def large(folder: Path, part: int, store: Store) -> dict[str, float]:
    """Return what a night reads of a scene larger than memory at a quarter of its resolution."""
    uri = f"{_BUCKET}/large.tif"
    content = cog(folder / "large.tif", _LARGE_SIDE // part, "none")
    size = len(content)
    store.write(uri, content)
    del content
    command = [sys.executable, "-m", "benchmarks.quarter", uri, str(store.config.endpoint)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    chips, read, memory, seconds = json.loads(said.splitlines()[-1])
    _print(
        f"large: {size / 1e9:.2f} GB, {chips} chips, {read / 1e6:.0f} MB, {memory} GB of memory, {seconds} s"
    )
    return {"large_scene_share_read": round(read / size, 4), "large_scene_rss_gb": memory}


if __name__ == "__main__":
    main()
