import io

import numpy as np
import pytest
from PIL import Image
from rasterio.transform import Affine

from pipelines.errors import RejectedObject
from pipelines.imagery import acquired_at, chip_id, grid_windows, open_raster, read_chips, read_window


@pytest.fixture
def pixels_HWC():
    return np.random.default_rng(0).integers(1, 255, (50, 70, 3), dtype=np.uint8)


def rejected(content: bytes, chip_size: int = 16, bands=(1, 2, 3)) -> str:
    with pytest.raises(RejectedObject) as caught, open_raster(content) as dataset:
        read_chips(dataset, chip_size, bands, 0.5)
    return caught.value.reason


def test_windows_tile_what_holds_whole_chips():
    windows = grid_windows(70, 50, 16)
    assert len(windows) == 4 * 3
    assert windows[:2] == [(0, 0, 16, 16), (16, 0, 16, 16)]
    assert grid_windows(15, 50, 16) == []


def test_chips_are_the_scenes_pixels(geotiff, pixels_HWC):
    with open_raster(geotiff(pixels_HWC)) as dataset:
        scene = read_chips(dataset, 16, (3, 1), 0.5)
        assert acquired_at(dataset).isoformat() == "2024-06-01T10:00:00+00:00"
    assert len(scene.windows) == 12
    for (x, y, w, h), chip_HWC in zip(scene.windows, scene.chips_NHWC, strict=True):
        np.testing.assert_array_equal(chip_HWC, pixels_HWC[y : y + h, x : x + w, [2, 0]])


def test_chips_of_mostly_nodata_are_left_out(geotiff, pixels_HWC):
    pixels_HWC[:16, :16] = 0
    pixels_HWC[:4, 16:32] = 0
    with open_raster(geotiff(pixels_HWC)) as dataset:
        scene = read_chips(dataset, 16, (1, 2, 3), 0.5)
    assert len(scene.windows) == 11
    assert scene.windows[0] == (16, 0, 16, 16)
    assert scene.valid_fractions_N[0] == 0.75


def test_each_broken_object_has_its_reason(geotiff, pixels_HWC):
    whole = geotiff(pixels_HWC)
    assert rejected(b"") == "zero_bytes"
    assert rejected(b"<html>404</html>") == "not_an_image"
    assert rejected(whole[: len(whole) // 2]) == "truncated"
    assert rejected(geotiff(np.zeros_like(pixels_HWC))) == "empty"
    assert rejected(whole, chip_size=51) == "too_small"
    assert rejected(whole, bands=(1, 4)) == "wrong_bands"
    assert rejected(geotiff(pixels_HWC.astype(np.uint16))) == "wrong_bands"


def test_a_raster_that_names_other_files_is_no_image():
    vrt = b'<VRTDataset rasterXSize="1" rasterYSize="1"><SRS>EPSG:4326</SRS></VRTDataset>'
    assert rejected(vrt) == "not_an_image"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_without_a_place_are_welcome(pixels_HWC, kind):
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, kind)
    with open_raster(buffer.getvalue()) as dataset:
        assert dataset.crs is None
        assert acquired_at(dataset) is None
        chip_HWC = read_window(dataset, (0, 0, 70, 50), (1, 2, 3))
    if kind == "PNG":
        np.testing.assert_array_equal(chip_HWC, pixels_HWC)


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
