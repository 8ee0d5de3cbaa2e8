"""Scenes that are read by ranges: the chips of whole reads, of fewer bytes, of one version."""

import numpy as np
import pyarrow as pa
import pytest
import rasterio
from rasterio.shutil import copy
from rasterio.transform import from_origin

from pipelines.encode import chips
from pipelines.encode.chips import CHIP, FAILED, read_objects
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import Grid, read_chips
from pipelines.imagery.pixels import PixelSpec
from pipelines.imagery.raster import open_raster
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.ranges import FOR_CHIPS

RGB = PixelSpec((1, 2, 3))
SIDE = 5120  # pixels: 79 MB, and 26 MB of overviews


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """A COG that is larger than what is read whole."""
    folder = tmp_path_factory.mktemp("large")
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8", "tiled": True}
    place = {"crs": "EPSG:3857", "transform": from_origin(0, 0, 2, 2)}
    rng = np.random.default_rng(0)
    with rasterio.open(folder / "plain.tif", "w", **profile, **place) as scene:
        scene.write(rng.integers(1, 255, (3, SIDE, SIDE), np.uint8))
    copy(folder / "plain.tif", folder / "cog.tif", driver="COG", compress="none", blocksize=512)
    content = (folder / "cog.tif").read_bytes()
    assert len(content) > FOR_CHIPS.whole
    return content


def rows_of(store, uri, grid, etag=None):
    listed = pa.table({"uri": [uri], "etag": [etag or store.etag(uri)], "collection": ["c"]})
    return read_objects(listed, ChipSpecs(ChipSpec(grid, RGB)), store)


@pytest.mark.parametrize("grid", [Grid(256), Grid(256, resolution=8, edges="shift")], ids=["full", "quarter"])
def test_chips_are_those_of_the_whole_object(store, any_root, content, grid):
    uri = f"{any_root}/large.tif"
    store.write(uri, content)
    rows = pa.concat_tables(rows_of(store, uri, grid))
    assert set(rows["outcome"].to_pylist()) == {CHIP}
    with open_raster(content) as scene:
        expected = list(read_chips(scene, georeference(scene), grid, RGB))
    assert [tuple(window.values()) for window in rows["window"].to_pylist()] == [c.window for c in expected]
    for pixels, chip in zip(rows["pixels"].to_pylist(), expected, strict=True):
        assert pixels == chip.pixels_HWC.tobytes()
    read = sum(rows["bytes_read"].to_pylist()) / len(content)
    # at a quarter: a twentieth is needed, as much is read ahead at most, and 4 MB of the beginning
    assert read < (0.85 if grid.resolution is None else 0.05 + 0.06 + 0.04)


def test_an_upload_that_broke_off(store, root, content):
    uri = f"{root}/large.tif"
    store.write(uri, content[:-5_000_000])
    rows = pa.concat_tables(rows_of(store, uri, Grid(256))).to_pylist()
    assert rows[-1]["outcome"] == "truncated"
    assert f"byte {len(content) - 5_000_000}" in rows[-1]["detail"]


def test_a_scene_that_is_replaced_meanwhile(store, any_root, content, monkeypatch):
    """Half of one version and half of another would have codes of neither."""
    monkeypatch.setattr(chips, "_BATCH_BYTES", 8 << 20)
    uri = f"{any_root}/large.tif"
    store.write(uri, content)
    tables = rows_of(store, uri, Grid(256))
    assert set(next(tables)["outcome"].to_pylist()) == {CHIP}
    store.write(uri, content[::-1])
    last = list(tables)[-1].to_pylist()[-1]
    assert last["outcome"] == FAILED
    assert "replaced while it was read" in last["detail"]
