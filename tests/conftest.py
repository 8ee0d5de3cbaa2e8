"""The real things that tests run against: an S3 server and a local Ray, one of each a session."""

import io
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

os.environ |= {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "600000",  # as of `pipelines.runtime.cluster`
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}

from pipelines.config import StoreConfig
from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY, object_store
from pipelines.imagery.grid import Grid, grid_windows
from pipelines.storage.store import Store

SHARE_A_SERVICE = {"cluster", "page", "serve"}
STARTS_A_PROGRAM = {
    "api",
    "cluster",
    "ray_local",
    "remote_store",
    "rendered",
    "run",
    "server",
    "store",
    "website",
}


class TogetherInOneProcess(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Keeps tests of a file in one process, and those of a folder whose files share a cluster or service."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.split("::")[0])
        return str(path.parent if path.parent.name in SHARE_A_SERVICE else path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> TogetherInOneProcess:
    """Say how the tests are divided if they run in several processes."""
    return TogetherInOneProcess(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make quick` leaves out: tests of which a fixture starts Ray or a server.

    Tests that start one themselves, or another program, bear the mark `server` where they are written.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        in_a_bucket = hasattr(item, "callspec") and item.callspec.params.get("any_root") == "s3"
        if in_a_bucket or fixtures & STARTS_A_PROGRAM:
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store on a real S3 server with the bucket `archive`."""
    os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with object_store(tmp_path_factory.mktemp("weed"), bucket="archive") as endpoint:
        yield Store(StoreConfig(endpoint=endpoint))


@pytest.fixture
def root(store: Store) -> str:
    """A fresh prefix in the bucket."""
    return f"s3://archive/{uuid4().hex}"


@pytest.fixture(params=["local", "s3"])
def any_root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh folder, once on disk and once in the bucket: both must behave alike."""
    if request.param == "local":
        return str(tmp_path)
    root: str = request.getfixturevalue("root")
    return root


@pytest.fixture(scope="session")
def ray_local(store: Store) -> Iterator[None]:  # after the store: workers inherit its keys
    """A Ray of this machine's own, with more logical CPUs than there are real ones."""
    import ray

    from pipelines.serve.proxy import haproxy

    with haproxy():
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        yield
        ray.shutdown()


@dataclass(frozen=True)
class Scenes:
    """A little archive: scenes below ``prefix``, each of one texture, and a manifest of their chips."""

    prefix: str
    manifest: str
    chip_size: int
    labels: dict[str, str]  # uri -> label


def make_geotiff(pixels_HWC: np.ndarray, west: float = 0, north: float = 10, **profile: object) -> bytes:
    """Return a GeoTIFF of .1-degree pixels."""
    height, width, bands = pixels_HWC.shape
    profile = {
        "driver": "GTiff",
        "dtype": pixels_HWC.dtype,
        "crs": "EPSG:4326",
        "transform": from_origin(west, north, 0.1, 0.1),
        "nodata": 0,
    } | profile
    with MemoryFile() as memory:
        with memory.open(width=width, height=height, count=bands, **profile) as dataset:
            dataset.update_tags(TIFFTAG_DATETIME="2024:06:01 10:00:00")
            dataset.write(pixels_HWC.transpose(2, 0, 1))
        return bytes(memory.read())


def texture(label: str, rng: np.random.Generator, size: int = 64) -> np.ndarray:
    """Return noisy pixels_HWC of a class. Turning a chip doesn't turn it into another class."""
    wave = np.sin(np.arange(size) * 1.5)
    pattern_HW = {
        "checks": np.outer(wave, wave),
        "flat": np.zeros((size, size)),
        "stripes": np.tile(wave, (size, 1)),
    }[label]
    noise_HWC = rng.normal(0, 20, (size, size, 3))
    return np.clip(120 + 80 * pattern_HW[..., None] + noise_HWC, 1, 255).astype(np.uint8)


def make_scenes(store: Store, root: str, count: int = 12, chip_size: int = 16) -> Scenes:
    """Write scenes of three textures, 64 pixels square, and the labelled manifest of all their chips."""
    rng = np.random.default_rng(0)
    labels, rows = {}, []
    for number in range(count):
        label = ("checks", "flat", "stripes")[number % 3]
        uri = f"{root}/scenes/{number:03}.tif"
        store.write(uri, make_geotiff(texture(label, rng), west=10 * number - 60))
        labels[uri] = label
        split = "validation" if number >= count - 3 else "train"
        for x, y, w, h in grid_windows(64, 64, Grid(chip_size)):
            rows.append(
                {"uri": uri, "window": {"x": x, "y": y, "w": w, "h": h}, "label": label, "split": split}
            )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    store.write(f"{root}/labels.parquet", buffer.getvalue())
    return Scenes(f"{root}/scenes", f"{root}/labels.parquet", chip_size, labels)


@pytest.fixture(scope="session")
def geotiff() -> Callable[..., bytes]:
    """`make_geotiff`."""
    return make_geotiff


@pytest.fixture(scope="session")
def write_scenes() -> Callable[..., Scenes]:
    """`make_scenes`."""
    return make_scenes
