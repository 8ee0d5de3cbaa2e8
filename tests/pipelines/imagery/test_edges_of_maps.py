"""Places where maps end: the antimeridian, a pole, the edge of a projection; and points without a fit."""

import numpy as np
import pytest
import shapely
from pyproj import CRS, Transformer
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine, from_origin

from pipelines.imagery.footprints import footprint
from pipelines.imagery.georeference import Georeference, georeference
from pipelines.imagery.raster import open_raster
from tests.pipelines.imagery.test_samples import night_rows

SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
MODIS_TILE = 1_111_950.519667  # metres


@pytest.fixture
def place_by_points(geotiff):
    def of(to_place, crs="EPSG:4326", steps=5):
        """The place of a raster of 64 x 64 pixels, by points; ``to_place``: column, row -> x, y."""
        ends = np.linspace(0, 64, steps)
        points = [
            GroundControlPoint(row=row, col=column, x=x, y=y)
            for row in ends
            for column in ends
            for x, y in [to_place(column, row)]
        ]
        return geotiff(np.ones((64, 64, 3), np.uint8), gcps=points, crs=crs, transform=None)

    return of


def placed(content, window=(0, 0, 64, 64)):
    with open_raster(content) as dataset:
        place = georeference(dataset)
        return place, footprint(place, window)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("steps", [2, 5])
def test_control_points_over_the_antimeridian(place_by_points, steps):
    content = place_by_points(lambda c, r: ((178 + c / 16 + 180) % 360 - 180, -15 - r / 32), steps=steps)
    place, found = placed(content)
    assert found.bbox == pytest.approx({"xmin": 178, "ymin": -17, "xmax": -178, "ymax": -15}, abs=1e-6)
    assert shapely.from_wkb(found.geometry).geom_type == "MultiPolygon"
    assert shapely.from_wkb(found.geometry).area == pytest.approx(8, rel=1e-6)
    elsewhere, _ = placed(place_by_points(lambda c, r: (10 + c / 16, -15 - r / 32), steps=steps))
    assert place.metres_per_pixel() == pytest.approx(elsewhere.metres_per_pixel(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_control_points_in_metres_over_the_antimeridian(place_by_points):
    to_mercator = Transformer.from_crs(4326, 3857, always_xy=True)
    content = place_by_points(
        lambda c, r: to_mercator.transform((178 + c / 16 + 180) % 360 - 180, -15 - r / 32), "EPSG:3857"
    )
    _, found = placed(content)
    assert found.bbox == pytest.approx({"xmin": 178, "ymin": -17, "xmax": -178, "ymax": -15}, abs=1e-3)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_control_points_of_the_whole_world_stay(place_by_points):
    _, found = placed(place_by_points(lambda c, r: (-180 + c * 360 / 64, 70 - r * 2)))
    assert found.bbox == pytest.approx({"xmin": -180, "ymin": -58, "xmax": 180, "ymax": 70}, abs=1e-6)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_control_points_around_a_pole(place_by_points):
    from_pole = Transformer.from_crs(3995, 4326, always_xy=True)
    content = place_by_points(lambda c, r: from_pole.transform((c - 32) * 5000, (32 - r) * 5000))
    place, found = placed(content)
    assert (found.bbox["xmin"], found.bbox["xmax"], found.bbox["ymax"]) == (-180, 180, 90)
    assert place.metres_per_pixel() == pytest.approx((5000, 5000), rel=0.05)


UNFITTED = {
    "one": lambda c, r: (10.0, 20.0),
    "a line": lambda c, r: (c, c),
    "infinite": lambda c, r: (np.inf, 20.0),
    "no number": lambda c, r: (c, np.nan),
}


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("name", UNFITTED)
def test_control_points_that_cant_be_fitted_are_no_place(tmp_path, place_by_points, name):
    content = place_by_points(UNFITTED[name])
    assert placed(content) == (None, None)
    rows = night_rows(tmp_path, content)
    assert {(row["outcome"], row["bbox"]) for row in rows} == {("chip", None)}
    (rejected,) = night_rows(tmp_path, content, resolution=30.0)
    assert rejected["outcome"] == "no_place"


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_single_control_point_is_no_place(tmp_path, geotiff):
    point = [GroundControlPoint(row=1, col=1, x=5, y=5)]
    content = geotiff(np.ones((64, 64, 3), np.uint8), gcps=point, crs="EPSG:4326", transform=None)
    assert {row["outcome"] for row in night_rows(tmp_path, content)} == {"chip"}


def modis_tile(across, down, crs=SINUSOIDAL):
    """A MODIS tile of 240 x 240 pixels, by its numbers."""
    pixel = MODIS_TILE / 240
    transform = from_origin((across - 18) * MODIS_TILE, (9 - down) * MODIS_TILE, pixel, pixel)
    to_lonlat = Transformer.from_crs(CRS.from_user_input(crs), 4326, always_xy=True)
    return Georeference(240, 240, lambda c, r: transform @ (c, r), to_lonlat), transform


@pytest.mark.parametrize(("across", "down"), [(26, 2), (9, 2), (33, 6), (27, 3), (35, 8), (0, 9)])
def test_chips_over_the_edge_of_a_sinusoidal_map_have_no_place(across, down):
    """Held against the map's own formula: x = R lon cos(lat), lon within -180..180."""
    place, transform = modis_tile(across, down)
    on_earth = over = 0
    for x in range(0, 240, 24):
        for y in range(0, 240, 24):
            corners = [transform @ (x + 24 * i / 8, y + 24 * j / 8) for i in range(9) for j in range(9)]
            reach = [abs(cx) / (6371007.181 * np.pi * np.cos(cy / 6371007.181)) for cx, cy in corners]
            found = footprint(place, (x, y, 24, 24))
            if max(reach) < 1 - 1e-9:
                on_earth += 1
                assert found is not None
                assert found.bbox["xmin"] < found.bbox["xmax"]
            elif max(reach) > 1.002:
                over += 1
                assert found is None
    assert on_earth
    assert over or (across, down) in ((35, 8), (0, 9))


@pytest.mark.parametrize(
    "projection",
    ["sinu", "moll", "robin", "eck4", "hammer", "wintri", "igh", "aeqd +lat_0=90", "laea +lat_0=45", "ortho"],
)
@pytest.mark.parametrize("middle", [0, 150])
def test_places_beyond_the_edge_of_a_map_are_none(projection, middle):
    """A chip far outside of the world's outline; one in the middle has its place."""
    to_lonlat = Transformer.from_crs(
        CRS.from_proj4(f"+proj={projection} +lon_0={middle} +R=6371007 +units=m"), 4326, always_xy=True
    )
    for shift, is_there in ((0, True), (1.97e7, False)):
        transform = Affine(1000, 0, shift - 8000, 0, -1000, 7_100_000 if shift else 108_000)
        place = Georeference(16, 16, lambda c, r, t=transform: t @ (c, r), to_lonlat)
        assert (footprint(place, (0, 0, 16, 16)) is not None) == is_there


@pytest.mark.parametrize(
    "crs", ["EPSG:3857", "EPSG:6933", "EPSG:4087", "EPSG:3395", "+proj=mill", "EPSG:4326"]
)
@pytest.mark.parametrize("latitude", [0.0, 40.0, -75.0])
def test_cylindrical_maps_go_on_over_the_antimeridian(crs, latitude):
    to_lonlat = Transformer.from_crs(CRS.from_user_input(crs), 4326, always_xy=True)
    edge, y = to_lonlat.transform(180 - 1e-9, latitude, direction="INVERSE")
    pixel = edge / 1800
    place = Georeference(16, 16, lambda c, r: (edge + (c - 8) * pixel, y - (r - 8) * pixel), to_lonlat)
    found = footprint(place, (0, 0, 16, 16))
    assert found.bbox["xmin"] == pytest.approx(179.2, abs=1e-3)
    assert found.bbox["xmax"] == pytest.approx(-179.2, abs=1e-3)
    assert place.metres_per_pixel() is not None


def test_a_tile_whose_middle_is_beyond_the_edge_has_a_pixel_size():
    place, _ = modis_tile(26, 2)
    across, down = place.metres_per_pixel()
    assert across == pytest.approx(MODIS_TILE / 240, rel=0.01)
    assert across < down < 4 * across  # meridians lean far over there
