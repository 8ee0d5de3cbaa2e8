"""Archives and bundles for `benchmarks.night`: they are made here, from noise, and need no data.

Shapes: H x W pixels, C bands.
"""

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_origin

from model.backbones import own_input
from model.bundle import pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.encode.chips import CHIP
from pipelines.encode.config import EncodeConfig
from pipelines.encode.parcels import ENCODED_SCHEMA
from pipelines.encode.shards import Lineage, write_unit
from pipelines.registry.bundles import write_bundle
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable

SMALL_SIDE, CHIP_SIDE = 150, 256
"""Side of a small object, which is one chip, and of a chip of a large scene [pixels]."""
LARGE_SIDE = 10_980
"""Of a large scene, as of a Sentinel-2 tile [pixels]."""
_COMPRESSIONS = ("deflate", "jpeg", "zstd")
_DIFFERENT = 50  # small objects with content of their own


def default_network() -> HashNetwork:
    """Return the default backbone, untrained: it takes as long as a trained one."""
    return HashNetwork(NetworkSpec(), own_input("inception_v3")).eval()


def costless_network() -> HashNetwork:
    """Return a network that costs next to nothing: what readers see of a fast GPU."""
    spec = NetworkSpec(backbone="resnet18", node="relu", hidden=0, kind_bits=64)
    return HashNetwork(spec, InputSpec(size=16)).eval()


def put_bundle(network: HashNetwork, name: str, store: Store) -> str:
    """Write a network as a bundle; return its URI."""
    manifest, files = pack_bundle(network, name, ("bench",), "none", {})
    uri = f"s3://bench/bundles/{manifest.model_id}"
    write_bundle(uri, files, store)
    return uri


def put_small(count: int, prefix: str, store: Store) -> None:
    """Write JPEGs of one chip each, of about 7 KB."""
    contents = [_jpeg(_scene(SMALL_SIDE, seed)) for seed in range(_DIFFERENT)]
    for number in range(count):
        store.write(f"{prefix}/{number:06}.jpg", contents[number % _DIFFERENT])


def put_large(count: int, prefix: str, store: Store) -> None:
    """Write GeoTIFFs of the size of a Sentinel-2 tile, with the usual kinds of compression in turns."""
    with TemporaryDirectory() as folder:
        for seed, compression in enumerate(_COMPRESSIONS):
            path = Path(folder) / "scene.tif"
            write_geotiff(path, compression, seed)
            for number in range(seed, count, len(_COMPRESSIONS)):
                store.write(f"{prefix}/{number:03}.tif", path.read_bytes())


def write_geotiff(path: Path, compression: str, seed: int) -> None:
    """Write one large scene, tiled."""
    part_HWC = _scene(LARGE_SIDE // 5, seed)
    profile = {"driver": "GTiff", "width": LARGE_SIDE, "height": LARGE_SIDE, "count": 3, "dtype": "uint8"}
    profile |= {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 10, 10)}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": compression}
    ycbcr = {"photometric": "ycbcr", "interleave": "pixel"}
    profile |= ycbcr if compression == "jpeg" else {"predictor": 2}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.tile(part_HWC, (5, 5, 1)).transpose(2, 0, 1))


def put_known(count: int, table_uri: str, bundle_uri: str, store: Store) -> str:
    """Write a manifest of objects that are encoded already, and the table that has them; return its URI."""
    model_id = bundle_uri.rsplit("/", 1)[1]
    night = EncodeConfig(source="s3://bench/known", table=table_uri, bundle=bundle_uri, chip_size=SMALL_SIDE)
    cut = chip_specs_of(night, InputSpec()).default.text()
    uris = [f"s3://bench/known/{number:06}.jpg" for number in range(count)]
    chips = {"outcome": CHIP, "etag": "1", "collection": "default", "valid_fraction": 1.0, "cut": cut}
    chips |= {"position": 0, "is_last": True}
    chips |= {"window": dict(zip("xywh", (0, 0, SMALL_SIDE, SMALL_SIDE), strict=True)), "code": b"12345678"}
    rows = [chips | {"uri": uri, "chip_id": uri[-20:]} for uri in uris]
    table = CodeTable(table_uri, store)
    table.create()
    block = pa.Table.from_pylist(rows, schema=ENCODED_SCHEMA)
    unit = write_unit(table_uri, store, Lineage(model_id, "bench"), block, [block])
    table.commit_unit(unit.shards, model_id, 1, {})
    manifest, content = f"{table_uri}-manifest.parquet", io.BytesIO()
    pq.write_table(pa.table({"uri": uris, "etag": ["1"] * count}), content)
    store.write(manifest, content.getvalue())
    return manifest


def _scene(side: int, seed: int) -> NDArray[np.uint8]:
    """Return pixels_HWC that are smooth with some noise, as imagery is."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (side // 12 + 1, side // 12 + 1, 3), np.uint8))
    smooth_HWC = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
    noisy_HWC = smooth_HWC + rng.integers(-3, 4, smooth_HWC.shape, np.int16)
    return np.asarray(np.clip(noisy_HWC, 1, 255), np.uint8)


def _jpeg(pixels_HWC: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels_HWC).save(content, "JPEG", quality=75)
    return content.getvalue()
