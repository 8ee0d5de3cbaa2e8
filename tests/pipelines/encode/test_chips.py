"""Objects to rows of chips: scenes larger than memory should be, objects that change while they are read.

What becomes of each kind of object is in tests/pipelines/encode/test_gallery.py.
"""

import os
import threading
import time

import numpy as np
import pyarrow as pa
import rasterio
from rasterio.transform import from_origin

from pipelines.encode import chips
from pipelines.encode.chips import CHIP, FAILED, read_objects
from pipelines.encode.shards import Lineage, write_unit
from pipelines.encode.usage import Cost, with_cost
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec
from pipelines.sources.chip_specs import ChipSpecs
from tests.pipelines.chip_rows import chip_rows

CHIP_SPECS = ChipSpecs(ChipSpec(Grid(256, min_valid_fraction=0.5), PixelSpec((1, 2, 3))))
SIDE = 5120  # 400 chips of 256 pixels: more than are handed on at once


def listed(store, root):
    return pa.Table.from_pylist(
        [{"uri": info.uri, "etag": info.etag, "collection": "c"} for info in store.list(root)]
    )


def large(geotiff, path):
    """A large scene; its chips are flat, each of its own grey."""
    values_HW = np.arange(400, dtype=np.uint16).reshape(20, 20) % 251 + 1
    values_HW = values_HW.astype(np.uint8).repeat(256, 0).repeat(256, 1)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8"}
    profile |= {
        "crs": "EPSG:3857",
        "transform": from_origin(0, 0, 2, 2),
        "tiled": True,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **profile) as dataset:
        for band in (1, 2, 3):
            dataset.write(values_HW, band)
    return path.read_bytes()


def encoded(batch):
    """What the encoder makes of a batch, but for the codes."""
    codes = pa.array([b"1234"] * len(batch.rows), pa.binary())
    return with_cost(batch.rows.append_column("code", codes), Cost())


def rows_of(objects, chip_specs, store):
    return [row for batch in read_objects(objects, chip_specs, store) for row in chip_rows(batch)]


def test_a_large_scene_is_handed_on_in_parts_and_taken_back_whole(store, root, geotiff, tmp_path):
    content = large(geotiff, tmp_path / "large.tif")
    store.write(f"{root}/a.tif", geotiff(np.full((256, 256, 3), 9, np.uint8)))
    store.write(f"{root}/b.tif", content)
    store.write(f"{root}/c.tif", content[: len(content) * 19 // 20])
    store.write(f"{root}/d.tif", geotiff(np.full((256, 256, 3), 9, np.uint8)))
    tables, greys = [], []
    for batch in read_objects(listed(store, root), CHIP_SPECS, store):
        assert batch.chips_NHWC.nbytes <= 64 << 20
        tables.append(encoded(batch))
        greys += [row["pixels"][0] for row in chip_rows(batch) if row["uri"].endswith("b.tif")]
    assert greys == [number % 251 + 1 for number in range(400)]

    result = write_unit(f"{root}/codes", store, Lineage("m", "r"), listed(store, root), tables)
    assert [shard.rows for shard in result.shards] == [1 + 400 + 1]
    assert result.rejects.select(["uri", "reason"]).to_pylist() == [
        {"uri": f"{root}/c.tif", "reason": "truncated"}
    ]


def test_what_the_source_says_of_an_object_counts_too(store, root, geotiff, monkeypatch):
    """Each chip repeats it: of small chips it is more than their pixels, and a column ends at 2 GiB."""
    monkeypatch.setattr(chips, "_BATCH_BYTES", 100_000)
    store.write(f"{root}/a.tif", geotiff(np.full((160, 160, 3), 9, np.uint8)))
    said = pa.array([[("remark", "x" * 5000)]], pa.map_(pa.string(), pa.string()))
    unit = listed(store, root).append_column("properties", said)
    chip_specs = ChipSpecs(ChipSpec(Grid(16), PixelSpec((1, 2, 3))))
    tables = [batch.rows for batch in read_objects(unit, chip_specs, store)]
    assert sum(map(len, tables)) == 100
    assert max(table["properties"].nbytes for table in tables) <= 100_000


def test_a_file_that_changes_all_the_time_is_never_filed_under_another_versions_etag(
    store, tmp_path, geotiff
):
    folder, fresh, stop = tmp_path / "imagery", tmp_path / "fresh", threading.Event()
    folder.mkdir()
    contents = [geotiff(np.full((256, 256 * wide, 3), wide, np.uint8)) for wide in (1, 2)]
    chips_of = {f"{len(content):x}": chips for chips, content in enumerate(contents, start=1)}

    def change():
        while not stop.is_set():
            for content in contents:
                fresh.write_bytes(content)
                fresh.replace(folder / "a.tif")
                time.sleep(2e-4)

    (folder / "a.tif").write_bytes(contents[0])
    writer = threading.Thread(target=change)
    writer.start()
    outcomes = set()
    try:
        while len(outcomes) < 2:
            for row in rows_of(listed(store, str(folder)), CHIP_SPECS, store):
                outcomes.add(row["outcome"])
                if row["outcome"] == CHIP:
                    assert row["pixels"][0] == chips_of[row["etag"].partition("-")[2]]
    finally:
        stop.set()
        writer.join()
    assert outcomes == {CHIP, FAILED}


def test_reading_on_disk_is_by_the_listed_version(store, tmp_path, geotiff):
    file = tmp_path / "a.tif"
    file.write_bytes(geotiff(np.full((256, 256, 3), 9, np.uint8)))
    objects = listed(store, str(tmp_path))
    (row,) = rows_of(objects, CHIP_SPECS, store)
    assert row["outcome"] == CHIP
    os.utime(file, (1, 1))
    (row,) = rows_of(objects, CHIP_SPECS, store)
    assert row["outcome"] == FAILED
    assert "was replaced since it was listed" in row["detail"]
    file.unlink()
    (row,) = rows_of(objects, CHIP_SPECS, store)
    assert "has gone since it was listed" in row["detail"]
