"""Shapes: H x W pixels, C bands."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin

from pipelines.errors import RejectedObject
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import Grid, covered_pixels, grid_windows, read_chips
from pipelines.imagery.pixels import PixelSpec
from pipelines.imagery.raster import open_raster

RGB = PixelSpec((1, 2, 3))
sides = st.integers(1, 40)


@pytest.fixture
def pixels_HWC():
    return np.random.default_rng(0).integers(1, 255, (50, 70, 3), dtype=np.uint8)


def chips_of(content, grid, pixels=RGB):
    with open_raster(content) as dataset:
        return list(read_chips(dataset, georeference(dataset), grid, pixels))


def rejected(content, grid, pixels=RGB):
    with pytest.raises(RejectedObject) as caught:
        chips_of(content, grid, pixels)
    return caught.value


def test_windows_tile_what_holds_whole_chips():
    windows = list(grid_windows(70, 50, Grid(16)))
    assert len(windows) == 4 * 3
    assert windows[:2] == [(0, 0, 16, 16), (16, 0, 16, 16)]
    assert list(grid_windows(15, 50, Grid(16))) == []


@pytest.mark.parametrize(
    ("edges", "starts"),
    [("drop", [0, 16, 32, 48]), ("shift", [0, 16, 32, 48, 54]), ("pad", [0, 16, 32, 48, 64])],
)
def test_partial_windows_at_the_edge(edges, starts):
    assert [x for x, *_ in grid_windows(70, 16, Grid(16, edges=edges))] == starts


@given(sides, sides, st.integers(1, 12), st.integers(1, 16))
def test_windows_by_every_rule(width, height, side, stride):
    drop, shift, pad = (
        list(grid_windows(width, height, Grid(side, stride, edges=edges)))
        for edges in ("drop", "shift", "pad")
    )
    # the slow reference: every place on the grid
    places = [(x, y) for y in range(0, height, stride) for x in range(0, width, stride)]
    assert drop == [(x, y, side, side) for x, y in places if x + side <= width and y + side <= height]
    covered = np.zeros((height, width), bool)
    for windows in (drop, shift, pad):
        assert len(set(windows)) == len(windows)
        assert sorted(windows, key=lambda window: (window[1], window[0])) == windows
    for x, y, w, h in pad:
        assert (x % stride, y % stride) == (0, 0)
        covered[y : y + h, x : x + w] = True
    if stride <= side:
        assert covered.all()
    assert set(drop) <= set(pad)
    assert (set(drop) <= set(shift)) if shift else not drop
    assert all(x + w <= width and y + h <= height for x, y, w, h in shift)
    assert len(shift) in (0, len(pad))


def test_chips_are_the_scenes_pixels(geotiff, pixels_HWC):
    chips = chips_of(geotiff(pixels_HWC), Grid(16), PixelSpec((3, 1)))
    assert len(chips) == 12
    for chip in chips:
        x, y, w, h = chip.window
        np.testing.assert_array_equal(chip.pixels_HWC, pixels_HWC[y : y + h, x : x + w, [2, 0]])


def test_chips_of_mostly_nodata_are_left_out(geotiff, pixels_HWC):
    pixels_HWC[:16, :16] = 0
    pixels_HWC[:4, 16:32] = 0
    chips = chips_of(geotiff(pixels_HWC), Grid(16, min_valid_fraction=0.5))
    assert len(chips) == 11
    assert chips[0].window == (16, 0, 16, 16)
    assert chips[0].valid_fraction == 0.75


def test_padded_chips_are_black_and_invalid_outside(geotiff, pixels_HWC):
    chips = chips_of(geotiff(pixels_HWC), Grid(64, edges="pad"))
    assert [chip.window for chip in chips] == [(0, 0, 64, 64), (64, 0, 64, 64)]
    assert chips[0].valid_fraction == 50 / 64
    assert chips[1].valid_fraction == 50 * 6 / 64**2
    np.testing.assert_array_equal(chips[1].pixels_HWC[:50, :6], pixels_HWC[:, 64:])
    assert not chips[1].pixels_HWC[50:].any()
    assert not chips[1].pixels_HWC[:, 6:].any()
    assert len(chips_of(geotiff(pixels_HWC), Grid(64, edges="pad", min_valid_fraction=0.5))) == 1


def test_each_broken_scene_has_its_reason(geotiff, pixels_HWC):
    whole, grid = geotiff(pixels_HWC), Grid(16)
    assert rejected(whole[: len(whole) // 2], grid).reason == "truncated"
    assert rejected(geotiff(np.zeros_like(pixels_HWC)), grid).reason == "empty"
    small = rejected(whole, Grid(51))
    assert (small.reason, small.detail) == ("too_small", "70 x 50 pixels hold no chip of 51 x 51")
    assert rejected(whole, grid, PixelSpec((1, 4))).reason == "wrong_bands"


@pytest.mark.parametrize(
    ("crs", "transform", "window"),
    [
        ("EPSG:32633", from_origin(500_000, 5_000_000, 0.6, 0.6), 27),  # 16 m of pixels of .60024 m
        ("EPSG:32633", from_origin(500_000, 5_000_000, 1, 1), 16),  # 1.0004 m: the same, nothing is resampled
        ("EPSG:32633", from_origin(500_000, 5_000_000, 2, 0.5), (8, 32)),
        ("EPSG:4326", from_origin(10, 60, 1e-5, 1e-5), (29, 14)),  # .558 m along the parallel, 1.114 m across
        ("EPSG:32633", from_origin(500_000, 5_000_000, 4, 4), 4),
    ],
)
def test_windows_in_metres(geotiff, pixels_HWC, crs, transform, window):
    chips = chips_of(geotiff(pixels_HWC, crs=crs, transform=transform), Grid(16, resolution=1.0))
    side = window if isinstance(window, tuple) else (window, window)
    assert chips[0].window == (0, 0, *side)
    assert chips[1].window == (side[0], 0, *side)
    assert {chip.pixels_HWC.shape for chip in chips} == {(16, 16, 3)}
    if side == (16, 16):
        np.testing.assert_array_equal(chips[0].pixels_HWC, pixels_HWC[:16, :16])
    else:
        whole_HWC = pixels_HWC[: side[1], : side[0]]
        assert chips[0].pixels_HWC.mean() == pytest.approx(whole_HWC.mean(), abs=8)


def test_a_stride_in_metres(geotiff, pixels_HWC):
    content = geotiff(pixels_HWC, crs="EPSG:32633", transform=from_origin(500_000, 5_000_000, 0.5, 0.5))
    chips = chips_of(content, Grid(16, stride=8, resolution=1.0))
    assert [chip.window[0] for chip in chips[:3]] == [0, 16, 32]


def test_metres_need_a_place(geotiff, pixels_HWC):
    error = rejected(geotiff(pixels_HWC, crs=None), Grid(16, resolution=1.0))
    assert (error.reason, "resolution is set" in error.detail) == ("no_place", True)


def test_a_chip_smaller_than_half_a_pixel_is_none(geotiff, pixels_HWC):
    content = geotiff(pixels_HWC, crs="EPSG:32633", transform=from_origin(500_000, 5_000_000, 40, 40))
    assert rejected(content, Grid(16, resolution=1.0)).reason == "too_small"


@pytest.mark.parametrize("edges", ["drop", "shift", "pad"])
@pytest.mark.parametrize("least", [0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("side", "stride"), [(16, None), (16, 7), (16, 20), (50, None), (51, None), (80, 40)]
)
def test_covered_pixels_are_those_in_a_chip(pixels_HWC, geotiff, edges, least, side, stride):
    grid, covered_HW = Grid(side, stride, edges=edges, min_valid_fraction=least), np.zeros((50, 70), bool)
    with open_raster(geotiff(pixels_HWC)) as dataset:
        place = georeference(dataset)
        with suppress(RejectedObject):
            for chip in read_chips(dataset, place, grid, RGB):
                x, y, w, h = chip.window
                covered_HW[y : y + h, x : x + w] = True
        assert covered_pixels(dataset, place, grid) == covered_HW.sum()
