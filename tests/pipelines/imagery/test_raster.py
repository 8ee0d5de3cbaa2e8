import io
import struct

import numpy as np
import pytest
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from pipelines.errors import RejectedObject
from pipelines.imagery.raster import acquired_at, open_raster
from pipelines.imagery.window import chip_id

PLACED = {"transform": Affine(1e-3, 0, 0, 0, -1e-3, 20)}


@pytest.fixture
def pixels_HWC():
    return np.random.default_rng(0).integers(1, 255, (50, 70, 3), dtype=np.uint8)


def rejected(content: bytes) -> RejectedObject:
    with pytest.raises(RejectedObject) as caught, open_raster(content):
        pass
    return caught.value


def test_what_is_no_image_has_its_reason():
    assert rejected(b"").reason == "zero_bytes"
    page = rejected(b"<html>404</html>")
    assert page.reason == "not_an_image"
    assert page.detail == "'the object' not recognized as being in a supported file format."


def test_a_header_that_promises_more_than_there_can_be(geotiff, pixels_HWC):
    content = geotiff(pixels_HWC)
    claimed = content.replace(struct.pack("<HHII", 256, 3, 1, 70), struct.pack("<HHII", 256, 4, 1, 900_000))
    claimed = claimed.replace(struct.pack("<HHII", 257, 3, 1, 50), struct.pack("<HHII", 257, 4, 1, 900_000))
    error = rejected(claimed)
    assert error.reason == "too_large"
    assert error.detail.startswith("the header says 900000 x 900000 pixels, but there are ")


def test_blocks_that_are_too_large_to_decode():
    shape = {"width": 20_000, "height": 20_000, "count": 3, "tiled": True}
    shape |= {"blockxsize": 20_000, "blockysize": 20_000, "compress": "deflate", "sparse_ok": True}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", dtype="uint8", crs="EPSG:4326", **PLACED, **shape):
            pass
        strip = bytes(memory.read())
    error = rejected(strip + bytes(1_000_000))
    assert error.reason == "too_large"
    assert "in blocks of 20000 x 20000: write it in tiles" in error.detail


def test_acquisition_times_are_the_tag_of_tiff(geotiff, pixels_HWC):
    with open_raster(geotiff(pixels_HWC)) as dataset:
        assert acquired_at(dataset).isoformat() == "2024-06-01T10:00:00+00:00"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_without_a_place_are_welcome(pixels_HWC, kind):
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, kind)
    with open_raster(buffer.getvalue()) as dataset:
        assert (dataset.crs, dataset.width, dataset.height) == (None, 70, 50)
        assert acquired_at(dataset) is None


def test_chip_id_is_stable_and_its_own():
    assert chip_id("s3://a/b.tif", (0, 0, 16, 16)) == "c923e8ca8f3c63322a2bd230"
    others = {chip_id("s3://a/b.tif", (x, 0, 16, 16)) for x in range(100)} | {
        chip_id("s3://a/c.tif", (0, 0, 16, 16))
    }
    assert len(others) == 101


def test_rotated_rasters_open(geotiff, pixels_HWC):
    turned = Affine.translation(10, 50) @ Affine.rotation(30) @ Affine.scale(0.1, -0.1)
    with open_raster(geotiff(pixels_HWC, transform=turned)) as dataset:
        assert not dataset.transform.is_rectilinear
