"""Shapes: H x W pixels, C bands, S = side of a resampled chip."""

import io

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from rasterio.enums import ColorInterp, Resampling

from pipelines.errors import RejectedObject
from pipelines.imagery.pixels import PixelSpec, read_window, with_own_range
from pipelines.imagery.raster import open_raster

RGB = PixelSpec((1, 2, 3))
DEEP = PixelSpec((1,), low=(1000,), high=(3000,))


@pytest.fixture
def pixels_HWC():
    return np.random.default_rng(0).integers(1, 255, (50, 70, 3), dtype=np.uint8)


def read(content, spec=RGB, window=None, size=None):
    with open_raster(content) as dataset:
        whole = (0, 0, dataset.width, dataset.height)
        return read_window(dataset, window or whole, with_own_range(dataset, spec), size)


def wrong_bands(content, spec):
    with pytest.raises(RejectedObject) as caught:
        read(content, spec)
    assert caught.value.reason == "wrong_bands"
    return caught.value.detail


def picture(pixels, kind="PNG", mode=None, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def edited(content, path, *edits):
    """The GeoTIFF after each edit, with the file closed in between."""
    path.write_bytes(content)
    for edit in edits:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            edit(dataset)
    return path.read_bytes()


def test_eight_bits_are_taken_as_they_are(geotiff, pixels_HWC):
    chip = read(geotiff(pixels_HWC), PixelSpec((3, 1)), (5, 6, 7, 8))
    np.testing.assert_array_equal(chip.pixels_HWC, pixels_HWC[6:14, 5:12, [2, 0]])
    assert chip.valid_fraction == 1


@settings(deadline=None)
@given(
    values_HWC=arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64]),
        (4, 5, 1),
        elements=st.integers(0, 255),
    ),
    low=st.integers(0, 100),
    span=st.integers(1, 150),
)
def test_a_range_is_mapped_to_0_255(geotiff, values_HWC, low, span):
    spec = PixelSpec((1,), low=(low,), high=(low + span,))
    chip = read(geotiff(values_HWC, nodata=None), spec)
    expected_HWC = np.clip((values_HWC.astype(np.float64) - low) / span, 0, 1) * 255
    assert np.abs(chip.pixels_HWC - expected_HWC).max() <= 0.5 + 1e-4


def test_each_band_has_its_range(geotiff):
    values_HWC = np.full((4, 4, 2), 2000, np.uint16)
    spec = PixelSpec((2, 1), low=(0, 1000), high=(4000, 2000))
    assert read(geotiff(values_HWC), spec).pixels_HWC[0, 0].tolist() == [128, 255]


def test_values_without_a_declared_range_are_refused(geotiff, pixels_HWC):
    deep = geotiff(pixels_HWC.astype(np.uint16))
    assert wrong_bands(deep, RGB) == (
        "bands are uint16: declare which values become 0 and 255 (low and high, or percentiles)"
    )
    assert wrong_bands(geotiff(pixels_HWC), PixelSpec((1, 4))) == "band 4 is needed, there are 3"
    assert "complex64" in wrong_bands(geotiff(pixels_HWC.astype(np.complex64), nodata=None), DEEP)
    assert "the declared range goes to 3000" in wrong_bands(geotiff(pixels_HWC), DEEP)


def test_percentiles_are_the_scenes_own(geotiff):
    values_HWC = np.arange(100 * 101, dtype=np.uint16).reshape(100, 101, 1) + 500
    values_HWC[0, :50] = 0  # nodata
    spec = PixelSpec((1,), percentiles=(10, 90))
    with open_raster(geotiff(values_HWC)) as dataset:
        ranged = with_own_range(dataset, spec)
        assert ranged == with_own_range(dataset, spec)
    low, high = np.percentile(values_HWC[values_HWC > 0], [10, 90])
    assert ranged == PixelSpec((1,), low=(low,), high=(high,))


def test_percentiles_of_a_large_scene_come_from_a_reduced_reading(geotiff):
    ramp_HWC = np.tile(np.arange(2000, dtype=np.uint16)[:, None, None], (1, 1500, 1)) + 1
    with open_raster(geotiff(ramp_HWC, compress="deflate", tiled=True)) as dataset:
        ranged = with_own_range(dataset, PixelSpec((1,), percentiles=(2, 98)))
    assert (*ranged.low, *ranged.high) == pytest.approx((41, 1961), abs=5)


@pytest.mark.parametrize(("value", "pixel"), [(7, 0), (0, None)])
def test_percentiles_of_nothing_and_of_one_value(geotiff, value, pixel):
    content = geotiff(np.full((9, 9, 1), value, np.uint16))
    spec = PixelSpec((1,), percentiles=(2, 98))
    if pixel is None:
        with pytest.raises(RejectedObject, match="empty: no pixel is valid"):
            read(content, spec)
    else:
        assert set(read(content, spec).pixels_HWC.ravel()) == {pixel}


def test_nan_and_infinity_are_no_data(geotiff):
    values_HWC = np.full((4, 4, 2), 2000, np.float32)
    values_HWC[0, :2] = np.nan
    values_HWC[0, 2] = np.inf
    values_HWC[1, 0, 1] = np.nan  # in one band only
    spec = PixelSpec((1, 2), low=(1000, 1000), high=(3000, 3000))
    chip = read(geotiff(values_HWC, nodata=None), spec)
    assert chip.valid_fraction == 13 / 16
    assert chip.pixels_HWC[0, :3].tolist() == [[0, 0]] * 3
    assert chip.pixels_HWC[1, 0].tolist() == [128, 0]
    assert chip.pixels_HWC[1:, 1:].min() == 128


@pytest.mark.parametrize("nodata", [-9999, 70_000, 3.5, 1e300])
def test_a_nodata_value_that_the_type_cannot_hold_is_nowhere(geotiff, pixels_HWC, nodata):
    content = geotiff(pixels_HWC, nodata=None)
    assert read(content, PixelSpec((1, 2, 3), nodata=nodata)).valid_fraction == 1


def test_nodata_of_the_file_and_of_the_config(geotiff):
    values_HWC = np.full((4, 4, 1), 2000, np.uint16)
    values_HWC[0] = 1500
    values_HWC[1, :2] = 0
    content = geotiff(values_HWC)  # says 0
    assert read(content, DEEP).valid_fraction == 14 / 16
    chip = read(content, PixelSpec((1,), low=(1000,), high=(3000,), nodata=1500))
    assert chip.valid_fraction == 12 / 16
    assert not chip.pixels_HWC[0].any()


def test_a_pixel_that_is_0_in_some_bands_is_valid(geotiff, pixels_HWC):
    pixels_HWC[:] = [255, 0, 0]
    assert read(geotiff(pixels_HWC)).valid_fraction == 1


def test_alpha_and_masks_count_unless_told_otherwise(geotiff, pixels_HWC, tmp_path):
    def write_mask(dataset):
        dataset.write_mask(alpha_HW1[..., 0] > 0)

    alpha_HW1 = np.full((50, 70, 1), 255, np.uint8)
    alpha_HW1[:10] = 0
    ignoring = PixelSpec((1, 2, 3), mask=False)
    contents = {
        "alpha": picture(np.concatenate([pixels_HWC, alpha_HW1], axis=2)),
        "mask": edited(geotiff(pixels_HWC, nodata=None), tmp_path / "a.tif", write_mask),
    }
    for content in contents.values():
        chip = read(content)
        assert chip.valid_fraction == 0.8
        assert not chip.pixels_HWC[:10].any()
        np.testing.assert_array_equal(chip.pixels_HWC[10:], pixels_HWC[10:])
        whole = read(content, ignoring)
        assert whole.valid_fraction == 1
        np.testing.assert_array_equal(whole.pixels_HWC, pixels_HWC)


def test_alpha_and_nodata_together(geotiff, pixels_HWC):
    four_HWC = np.concatenate([pixels_HWC, np.full((50, 70, 1), 255, np.uint8)], axis=2)
    four_HWC[:10, :, 3] = 0
    four_HWC[40:, :, :3] = 0
    assert read(geotiff(four_HWC)).valid_fraction == pytest.approx(0.6)


def test_a_fourth_band_that_is_asked_for_is_no_alpha(geotiff, pixels_HWC):
    """GDAL calls the fourth of four 8-bit bands alpha, near infrared as well."""
    four_HWC = np.concatenate([pixels_HWC, np.zeros((50, 70, 1), np.uint8)], axis=2)
    content = geotiff(four_HWC, nodata=None)
    with open_raster(content) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
    chip = read(content, PixelSpec((4, 1, 2)))
    assert chip.valid_fraction == 1
    np.testing.assert_array_equal(chip.pixels_HWC, four_HWC[..., [3, 0, 1]])


def test_a_palette_is_its_colours(pixels_HWC):
    paletted = Image.fromarray(pixels_HWC).quantize(16)
    expected_HWC = np.asarray(paletted.convert("RGB"))
    buffer = io.BytesIO()
    paletted.save(buffer, "PNG", transparency=3)
    chip = read(buffer.getvalue())
    clear_HW = np.asarray(paletted) == 3
    assert chip.valid_fraction == pytest.approx(1 - clear_HW.mean())
    np.testing.assert_array_equal(chip.pixels_HWC[~clear_HW], expected_HWC[~clear_HW])
    assert "band 4 is needed, there are 3" in wrong_bands(buffer.getvalue(), PixelSpec((4,)))


def test_grey_and_cmyk(pixels_HWC):
    assert "band 3 is needed, there are 1" in wrong_bands(picture(pixels_HWC[..., 0]), RGB)
    grey = read(picture(pixels_HWC[..., 0]), PixelSpec((1, 1, 1))).pixels_HWC
    np.testing.assert_array_equal(grey, np.repeat(pixels_HWC[..., :1], 3, axis=2))
    flat_HWC = np.full((32, 32, 3), [200, 100, 50], np.uint8)
    printed = read(picture(flat_HWC, "JPEG", "CMYK", quality=95)).pixels_HWC
    assert np.abs(printed.astype(int) - flat_HWC).max() < 8


def test_resampling_is_what_pillow_does(geotiff, pixels_HWC):
    for window in ((0, 0, 32, 32), (3, 5, 24, 30), (0, 0, 9, 9)):
        x, y, w, h = window
        part = Image.fromarray(pixels_HWC[y : y + h, x : x + w])
        expected_SSC = np.asarray(part.resize((16, 16), Image.Resampling.BILINEAR))
        found_SSC = read(geotiff(pixels_HWC), RGB, window, 16).pixels_HWC
        assert np.abs(found_SSC.astype(int) - expected_SSC).max() <= 1


@pytest.mark.parametrize("spec", [DEEP, PixelSpec((1,), low=(1000,), high=(3000,), nodata=0)])
@pytest.mark.parametrize("side", [24, 160])
def test_what_is_not_valid_bleeds_into_nothing(geotiff, side, spec):
    """One value beside nodata stays that value, however much it is reduced."""
    values_HWC = np.full((side, side, 1), 2000, np.uint16)
    values_HWC[:, : side // 2 + 1] = 0
    chip = read(geotiff(values_HWC), spec, size=16)
    assert chip.valid_fraction == pytest.approx(0.5, abs=0.05)
    assert set(np.unique(chip.pixels_HWC)) == {0, 128}


def test_large_reductions_start_from_an_overview(geotiff, tmp_path):
    """The overview is made to differ from the pixels, so that it shows."""
    flat_HWC = np.full((512, 512, 1), 200, np.uint8)
    content = edited(
        geotiff(flat_HWC, tiled=True, blockxsize=128, blockysize=128),
        tmp_path / "a.tif",
        lambda dataset: dataset.build_overviews([2, 4, 8], Resampling.nearest),
        lambda dataset: dataset.write(np.full((1, 512, 512), 50, np.uint8)),
    )
    one = PixelSpec((1,))
    assert set(read(content, one, size=64).pixels_HWC.ravel()) == {200}
    assert set(read(content, one, (0, 0, 64, 64), size=48).pixels_HWC.ravel()) == {50}


def test_a_window_outside_is_refused(geotiff, pixels_HWC):
    for window in ((70, 0, 4, 4), (0, 50, 4, 4), (-4, 0, 4, 4), (0, -4, 4, 4)):
        with pytest.raises(RejectedObject, match=r"too_small: window .* lies outside of 70 x 50"):
            read(geotiff(pixels_HWC), RGB, window)
