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
from tests.pipelines.chip_rows import chip_rows

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


def batches_of(store, uri, grid):
    listed = pa.table({"uri": [uri], "etag": [store.etag(uri)], "collection": ["c"]})
    return read_objects(listed, ChipSpecs(ChipSpec(grid, RGB)), store)


def rows_of(store, uri, grid):
    return [row for batch in batches_of(store, uri, grid) for row in chip_rows(batch)]


@pytest.mark.parametrize("grid", [Grid(256), Grid(256, resolution=8, edges="shift")], ids=["full", "quarter"])
def test_chips_are_those_of_the_whole_object(store, any_root, content, grid):
    uri = f"{any_root}/large.tif"
    store.write(uri, content)
    rows = rows_of(store, uri, grid)
    assert {row["outcome"] for row in rows} == {CHIP}
    with open_raster(content) as scene:
        expected = list(read_chips(scene, georeference(scene), grid, RGB))
    assert [tuple(row["window"].values()) for row in rows] == [chip.window for chip in expected]
    for row, chip in zip(rows, expected, strict=True):
        assert row["pixels"] == chip.pixels_HWC.tobytes()
    read = sum(row["bytes_read"] for row in rows) / len(content)
    # at a quarter: a twentieth is needed, as much is read ahead at most, and 4 MB of the beginning
    assert read < (0.85 if grid.resolution is None else 0.05 + 0.06 + 0.04)


def test_an_upload_that_broke_off(store, root, content):
    uri = f"{root}/large.tif"
    store.write(uri, content[:-5_000_000])
    rows = rows_of(store, uri, Grid(256))
    assert rows[-1]["outcome"] == "truncated"
    assert f"byte {len(content) - 5_000_000}" in rows[-1]["detail"]


def test_a_scene_that_is_replaced_meanwhile(store, any_root, content, monkeypatch):
    """Half of one version and half of another would have codes of neither."""
    monkeypatch.setattr(chips, "_BATCH_BYTES", 8 << 20)
    uri = f"{any_root}/large.tif"
    store.write(uri, content)
    batches = batches_of(store, uri, Grid(256))
    assert {row["outcome"] for row in chip_rows(next(batches))} == {CHIP}
    store.write(uri, content[::-1])
    last = list(batches)[-1].rows.to_pylist()[-1]
    assert last["outcome"] == FAILED
    assert "replaced while it was read" in last["detail"]
