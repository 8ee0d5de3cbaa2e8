import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine, from_origin

from pipelines.imagery.footprints import footprint
from pipelines.imagery.georeference import Georeference, georeference
from pipelines.imagery.raster import open_raster
from pipelines.table.sorting import hilbert_key

BLANK_HWC = np.ones((64, 64, 3), np.uint8)
WHOLE = (0, 0, 64, 64)


@pytest.fixture
def place_of(geotiff):
    def of(**profile):
        with open_raster(geotiff(BLANK_HWC, **profile)) as dataset:
            return georeference(dataset)

    return of


@pytest.fixture
def footprint_of(place_of):
    return lambda window=WHOLE, **profile: footprint(place_of(**profile), window)


def by_affine(crs, transform, side=64):
    """A raster's place without the raster: the tests below need thousands."""
    to_lonlat = Transformer.from_crs(CRS.from_user_input(crs), 4326, always_xy=True)
    return Georeference(side, side, lambda columns_P, rows_P: transform @ (columns_P, rows_P), to_lonlat)


def test_a_window_lies_where_its_pixels_do(footprint_of):
    found = footprint_of((10, 20, 30, 40), transform=from_origin(5, 50, 0.1, 0.1))
    assert found.bbox == pytest.approx({"xmin": 6, "ymin": 44, "xmax": 9, "ymax": 48})
    shape = shapely.from_wkb(found.geometry)
    assert shape.is_valid
    assert shape.exterior.is_ccw, "RFC 7946, 3.1.6"
    assert shape.area == pytest.approx(3 * 4)


def test_what_lies_outside_of_the_raster_isnt_in_the_footprint(footprint_of):
    found = footprint_of((50, 40, 30, 40), transform=from_origin(5, 50, 0.1, 0.1))
    assert found.bbox == pytest.approx({"xmin": 10, "ymin": 43.6, "xmax": 11.4, "ymax": 46})


def test_no_crs_no_footprint(footprint_of):
    assert footprint_of(crs=None) is None


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_crs_alone_is_no_place(place_of):
    assert place_of(transform=None) is None


def test_a_sites_own_coordinates_are_no_place(place_of):
    local = 'LOCAL_CS["a quarry",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'
    assert place_of(crs=local, transform=from_origin(0, 100, 1, 1)) is None


def test_beyond_the_projection_there_is_no_footprint(footprint_of):
    assert footprint_of(crs="EPSG:3031", transform=from_origin(1e30, 1e30, 1, 1)) is None


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


def test_ground_control_points(footprint_of):
    transform = Affine.translation(10, 50) @ Affine.rotation(30) @ Affine.scale(0.1, -0.1)
    corners = [(0, 0), (64, 0), (64, 64), (0, 64), (32, 20)]
    points = [GroundControlPoint(y, x, *(transform @ (x, y))) for x, y in corners]
    found = footprint_of((8, 8, 16, 16), transform=None, gcps=points)
    expected = footprint_of((8, 8, 16, 16), transform=transform)
    assert found.bbox == pytest.approx(expected.bbox)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32601", from_origin(100_000, 1_000_000, 3_000, 3_000)),  # UTM 1N starts at 180 W
        ("EPSG:4326", from_origin(178, 10, 0.1, 0.1)),  # a raster that runs past 180
        ("EPSG:4326", from_origin(-182, 10, 0.1, 0.1)),  # to the west
        ("EPSG:4326", from_origin(179.2, 10, 0.1, 0.1)),  # where a turn of 360 degrees is rounded
        ("EPSG:4326", Affine(0.1, 0, 178, 0, 0.1, 3.6)),  # south up
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
    assert (found.bbox["xmin"], found.bbox["xmax"]) == (east.bounds[0], west.bounds[2])
    assert shape.area < 60


def test_touching_the_antimeridian_is_not_crossing_it(footprint_of):
    found = footprint_of(transform=from_origin(180 - 6.4, 10, 0.1, 0.1))
    assert shapely.from_wkb(found.geometry).geom_type == "Polygon"
    assert found.bbox["xmax"] == pytest.approx(180)


@pytest.mark.parametrize("west", [-180, 0, 180])
def test_a_map_of_the_world_goes_around_it_once(footprint_of, west):
    found = footprint_of(transform=from_origin(west, 90, 360 / 64, 180 / 64))
    assert found.bbox == {"xmin": -180, "ymin": -90, "xmax": 180, "ymax": 90}
    assert shapely.from_wkb(found.geometry).area == pytest.approx(360 * 180)


def test_pixels_that_overhang_the_pole_end_there(footprint_of):
    found = footprint_of((0, 0, 16, 16), transform=from_origin(-180, 90.5, 1, 1))
    assert found.bbox == {"xmin": -180, "ymin": 74.5, "xmax": -164, "ymax": 90}


def check_inside_and_outside(place, window, rng, pole=None):
    """Points of the window lie in its footprint and others don't, but for a seam at its edge.

    Nor are points judged that are nearer to the ``pole`` (column, row) than two points of an outline are to
    each other: a side that passes a pole has no more than 64.
    """
    found = footprint(place, window)
    shape = shapely.from_wkb(found.geometry)
    assert shape.is_valid
    x, y, w, h = window
    across_N, down_N = rng.uniform(-0.5, 1.5, (2, 400))
    lon_N, lat_N = place.lonlat(x + w * across_N, y + h * down_N)
    edge_N = np.minimum(np.abs(across_N * (1 - across_N)), np.abs(down_N * (1 - down_N)))
    inside_N = (across_N > 0) & (across_N < 1) & (down_N > 0) & (down_N < 1)
    in_footprint_N = shapely.contains_xy(shape, lon_N, lat_N)
    clear_N = edge_N > 0.02
    if pole:
        from_pole_N = np.hypot(x + w * across_N - pole[0], y + h * down_N - pole[1])
        clear_N &= from_pole_N > max(w, h) / 64
    np.testing.assert_array_equal(in_footprint_N[clear_N], inside_N[clear_N])
    box, lon_N = found.bbox, lon_N[inside_N & clear_N]
    between_N = (
        (box["xmin"] <= lon_N) & (lon_N <= box["xmax"])
        if box["xmin"] <= box["xmax"]
        else (box["xmin"] <= lon_N) | (lon_N <= box["xmax"])
    )
    assert between_N.all()


@settings(deadline=None)
@example(crs="EPSG:3995", window=(31, 31, 1, 11), turned=45.0, metres=10.0)  # a point a tenth of a pixel away
@given(
    crs=st.sampled_from(["EPSG:3995", "EPSG:3031", "EPSG:3413"]),
    window=st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 24), st.integers(1, 24)),
    turned=st.sampled_from([0.0, 45.0, 17.0]),
    metres=st.sampled_from([10.0, 1000.0, 20_000.0]),
)
def test_windows_at_a_pole(crs, window, turned, metres):
    """The pole is where the raster's middle pixels meet: in windows, on their edges, at their corners."""
    middle = Affine.translation(-32, -32)
    transform = Affine.rotation(turned) @ Affine.scale(metres, -metres) @ middle
    check_inside_and_outside(by_affine(crs, transform), window, np.random.default_rng(0), pole=(32, 32))


@settings(deadline=None)
@given(
    longitude=st.floats(-180, 180),
    latitude=st.floats(-85, 85),
    turned=st.floats(0, 360),
    metres=st.sampled_from([1.0, 30.0, 1000.0]),
)
def test_windows_anywhere(longitude, latitude, turned, metres):
    crs = CRS.from_proj4(f"+proj=laea +lon_0={longitude} +lat_0={latitude} +datum=WGS84")
    transform = Affine.rotation(turned) @ Affine.scale(metres, -metres) @ Affine.translation(-32, -32)
    check_inside_and_outside(by_affine(crs, transform), (20, 10, 16, 24), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        ("EPSG:32633", from_origin(500_000, 5_000_000, 10, 10), (10 / 0.9996, 10 / 0.9996)),
        ("EPSG:2263", from_origin(1_000_000, 200_000, 2, 2), (0.6096, 0.6096)),  # US survey feet
        ("EPSG:4326", from_origin(10, 60.0032, 0.0001, 0.0001), (5.58, 11.14)),
        ("EPSG:3857", from_origin(0, 8_399_738 + 320, 10, 10), (5.01, 5.01)),  # 60 degrees north
        ("EPSG:32633", Affine.translation(5e5, 5e6) @ Affine.rotation(30) @ Affine.scale(3, -4), (3, 4)),
    ],
)
def test_pixels_are_measured_on_the_ground(place_of, crs, transform, metres):
    assert place_of(crs=crs, transform=transform).metres_per_pixel() == pytest.approx(metres, rel=2e-3)


@settings(deadline=None)
@given(st.floats(-180, 180), st.floats(-89, 89), st.floats(1e-5, 1e-2))
def test_pixels_in_degrees_are_measured_along_parallels_and_meridians(longitude, latitude, degrees):
    transform = from_origin(longitude - 32 * degrees, latitude + 32 * degrees, degrees, degrees)
    along, across = by_affine(4326, transform).metres_per_pixel()
    earth = Geod(ellps="WGS84")
    _, _, parallel = earth.inv(longitude, latitude, longitude + degrees, latitude)
    _, _, meridian = earth.inv(longitude, latitude - degrees / 2, longitude, latitude + degrees / 2)
    assert along == pytest.approx(parallel, rel=1e-2)
    assert across == pytest.approx(meridian, rel=1e-3)


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


def true_side_points(place, window, points_a_side=200):
    """Longitudes and latitudes of many points along the sides, corners included."""
    x, y, w, h = window
    along = np.linspace(0, 1, points_a_side)
    ones, zeros = np.ones(points_a_side), np.zeros(points_a_side)
    return place.lonlat(
        x + w * np.concatenate([along, along, zeros, ones]),
        y + h * np.concatenate([zeros, ones, along, along]),
    )


PLACES = [
    ("EPSG:32633", from_origin(400_000, 5_000_000, 10, 10)),
    ("EPSG:32633", from_origin(200_000, 7_500_000, 10_000, 10_000)),
    ("EPSG:32601", from_origin(100_000, 1_000_000, 3_000, 3_000)),  # across the antimeridian
    ("EPSG:3413", from_origin(200_000, 200_000, 10, 10)),
    ("EPSG:3413", from_origin(-400_000, 1_400_000, 10_000, 10_000)),
    ("EPSG:3031", from_origin(5000, 64_000, 1000, 1000)),  # beside the pole
    ("EPSG:3031", from_origin(-20_000, 30_000, 1000, 1000)),  # around it
    ("EPSG:3857", from_origin(0, 8_400_000, 10_000, 10_000)),
    ("ESRI:54008", from_origin(3_000_000, 6_000_000, 20_000, 20_000)),  # sinusoidal
]


@pytest.mark.parametrize(("crs", "transform"), PLACES)
def test_outlines_follow_their_sides_to_a_thousandth_of_the_shortest_one(crs, transform):
    place = by_affine(crs, transform)
    lon_P, lat_P = true_side_points(place, WHOLE)
    ring = shapely.from_wkb(footprint(place, WHOLE).geometry).boundary
    scale = np.cos(np.radians(np.abs(lat_P).min()))
    corners = shapely.get_coordinates(ring)
    ring = shapely.set_coordinates(ring, corners * [scale, 1])
    distances = shapely.distance(ring, shapely.points(lon_P * scale, lat_P))
    sides = np.reshape(shapely.points(np.unwrap(lon_P, period=360) * scale, lat_P), (4, -1))
    shortest = min(shapely.length(shapely.linestrings(shapely.get_coordinates(side))) for side in sides)
    assert distances.max() < 1.1e-3 * shortest


@pytest.mark.parametrize(
    ("crs", "transform", "points"),
    [
        ("EPSG:4326", from_origin(5, 50, 0.1, 0.1), 5),
        ("EPSG:3857", from_origin(0, 8_400_000, 10_000, 10_000), 5),
        ("EPSG:32633", from_origin(400_000, 5_000_000, 10, 10), 5),
        ("EPSG:3413", from_origin(-400_000, 1_400_000, 10, 10), 5),
        ("EPSG:32633", from_origin(200_000, 7_500_000, 10_000, 10_000), 33),
    ],
)
def test_outlines_have_no_more_points_than_their_sides_bend(crs, transform, points):
    shape = shapely.from_wkb(footprint(by_affine(crs, transform), WHOLE).geometry)
    assert len(shapely.get_coordinates(shape)) == points
