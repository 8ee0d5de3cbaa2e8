import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.transform import Affine, from_origin

from pipelines.footprints import footprint, hilbert_key
from pipelines.imagery import open_raster

BLANK_HWC = np.ones((64, 64, 3), np.uint8)
WHOLE = (0, 0, 64, 64)


@pytest.fixture
def footprint_of(geotiff):
    def of(window=WHOLE, **profile):
        with open_raster(geotiff(BLANK_HWC, **profile)) as dataset:
            return footprint(dataset, window)

    return of


def test_a_window_lies_where_its_pixels_do(footprint_of):
    found = footprint_of((10, 20, 30, 40), transform=from_origin(5, 50, 0.1, 0.1))
    assert found.bbox == pytest.approx({"xmin": 6, "ymin": 44, "xmax": 9, "ymax": 48})
    shape = shapely.from_wkb(found.geometry)
    assert shape.is_valid
    assert shape.area == pytest.approx(3 * 4)


def test_no_crs_no_footprint(footprint_of):
    assert footprint_of(crs=None) is None


def test_utm_edges_are_curved(footprint_of):
    """On a long edge along a parallel of UTM, the middle lies measurably off the straight chord."""
    found = footprint_of(crs="EPSG:32633", transform=from_origin(200_000, 7_500_000, 10_000, 10_000))
    to_lonlat = Transformer.from_crs(32633, 4326, always_xy=True)
    middle = shapely.Point(to_lonlat.transform(200_000 + 320_000, 7_500_000))
    outline = shapely.from_wkb(found.geometry).exterior
    assert outline.distance(middle) < 0.01
    corners = [to_lonlat.transform(x, 7_500_000) for x in (200_000, 840_000)]
    assert shapely.LineString(corners).distance(middle) > 0.1


def test_rotated_geotransform(footprint_of):
    transform = Affine.translation(10, 50) @ Affine.rotation(30) @ Affine.scale(0.1, -0.1)
    shape = shapely.from_wkb(footprint_of(transform=transform).geometry)
    expected = shapely.Polygon([transform @ corner for corner in ((0, 0), (64, 0), (64, 64), (0, 64))])
    assert shape.symmetric_difference(expected).area < 1e-9


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32601", from_origin(100_000, 1_000_000, 3_000, 3_000)),  # UTM 1N starts at 180 W
        ("EPSG:4326", from_origin(178, 10, 0.1, 0.1)),  # a raster that runs past 180
    ],
)
def test_across_the_antimeridian_it_is_split(footprint_of, crs, transform):
    found = footprint_of(crs=crs, transform=transform)
    shape = shapely.from_wkb(found.geometry)
    assert shape.geom_type == "MultiPolygon"
    assert shape.is_valid
    west, east = sorted(shape.geoms, key=lambda part: part.bounds[0])
    assert west.bounds[0] == -180
    assert east.bounds[2] == 180
    assert found.bbox["xmin"] > 0 > found.bbox["xmax"]
    assert shape.area < 60


def test_touching_the_antimeridian_is_not_crossing_it(footprint_of):
    found = footprint_of(transform=from_origin(180 - 6.4, 10, 0.1, 0.1))
    assert shapely.from_wkb(found.geometry).geom_type == "Polygon"
    assert found.bbox["xmax"] == pytest.approx(180)


@given(st.integers(1, 5))
def test_hilbert_curve_visits_every_cell_and_only_steps_to_neighbours(order):
    cells = 1 << order
    x_N, y_N = (axis.ravel() for axis in np.meshgrid(np.arange(cells), np.arange(cells)))
    longitude_N, latitude_N = (x_N + 0.5) / cells * 360 - 180, (y_N + 0.5) / cells * 180 - 90
    key_N = hilbert_key(longitude_N, latitude_N, order)
    assert sorted(key_N.tolist()) == list(range(cells * cells))
    along = np.argsort(key_N)
    steps_N = np.abs(np.diff(x_N[along])) + np.abs(np.diff(y_N[along]))
    assert set(steps_N.tolist()) == {1}


@settings(max_examples=20)
@given(st.floats(-180, 180), st.floats(-90, 90))
def test_chips_without_a_place_come_last(longitude, latitude):
    key_N = hilbert_key(np.array([longitude, np.nan]), np.array([latitude, np.nan]))
    assert key_N[0] < key_N[1]
