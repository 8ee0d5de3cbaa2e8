"""Where all pixels of a raster lie on Earth if only some are known: its ground control points.

GDAL fits a polynomial, of the highest order that the number of points allows. Longitudes jump at the
antimeridian and mean nothing at a pole. So near a pole the polynomial is fitted to a map around the pole, and
across the antimeridian to longitudes that go on beyond 180 degrees.

Shapes: G control points, P points.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio._err import CPLE_BaseError  # GDAL's own errors have no public name
from rasterio.control import GroundControlPoint
from rasterio.errors import RasterioError
from rasterio.transform import GCPTransformer

Floats = NDArray[np.float64]
Points = tuple[Floats, Floats]

_POLAR = 80.0  # degrees of latitude; beyond it meridians lie too close together
_HALF_THE_EARTH = 2e7  # metres of circumference


def fit_control_points(
    points: Sequence[GroundControlPoint], to_lonlat: Transformer
) -> tuple[Callable[[Floats, Floats], Points], Transformer] | None:
    """Return a function from columns_P and rows_P to a projection and its transformer to longitude, latitude.

    ``to_lonlat`` transforms the coordinates of the points. The result is None if the points can't be fitted:
    too few, all on a line or in one place, or not on Earth. Raises ProjError, CRSError.
    """
    x_G = np.array([point.x for point in points], np.float64)
    y_G = np.array([point.y for point in points], np.float64)
    lon_G, lat_G = (np.asarray(side, np.float64) for side in to_lonlat.transform(x_G, y_G))
    if not (np.isfinite(lon_G).all() and np.isfinite(lat_G).all()):
        return None
    if np.abs(lat_G).max() > _POLAR:
        around_pole = _around_pole(float(lat_G[np.argmax(np.abs(lat_G))]))
        x_G, y_G = around_pole.transform(lon_G, lat_G, direction="INVERSE")
        to_lonlat = around_pole
    elif _is_cut(x_G, lon_G, is_geographic=_is_geographic(to_lonlat)):
        x_G, y_G, to_lonlat = _joined(lon_G), lat_G, Transformer.from_crs(4326, 4326, always_xy=True)
    known = [
        GroundControlPoint(row=point.row, col=point.col, x=float(x), y=float(y))
        for point, x, y in zip(points, x_G, y_G, strict=True)
    ]

    def to_projection(columns_P: Floats, rows_P: Floats) -> Points:
        with GCPTransformer(known) as fitted:
            x_P, y_P = fitted.xy(rows_P, columns_P, offset="ul")
        return np.asarray(x_P, np.float64), np.asarray(y_P, np.float64)

    try:
        to_projection(np.zeros(1), np.zeros(1))
    except (CPLE_BaseError, RasterioError):
        return None
    return to_projection, to_lonlat


def _around_pole(latitude: float) -> Transformer:
    """Return the transformer from a map around the nearer pole to longitude and latitude."""
    pole = CRS.from_proj4(f"+proj=stere +lat_0={np.copysign(90, latitude):g} +lon_0=0 +datum=WGS84")
    return Transformer.from_crs(pole, 4326, always_xy=True)


def _is_geographic(to_lonlat: Transformer) -> bool:
    source = to_lonlat.source_crs
    return source is not None and bool(source.is_geographic)


def _is_cut(x_G: Floats, lon_G: Floats, *, is_geographic: bool) -> bool:
    """Return whether points that are close on Earth lie at both ends of a map, across the antimeridian."""
    apart = 180.0 if is_geographic else _HALF_THE_EARTH
    return bool(np.ptp(x_G) > apart and np.ptp(_joined(lon_G)) < np.ptp(lon_G))


def _joined(lon_G: Floats) -> Floats:
    """Return the longitudes; if they have a gap of over 180 degrees, those west of it are moved by +360."""
    sorted_G = np.sort(lon_G)
    gaps_G = np.diff(sorted_G)
    widest = int(np.argmax(gaps_G)) if len(gaps_G) else 0
    if not len(gaps_G) or gaps_G[widest] <= 180:
        return lon_G
    return np.where(lon_G <= sorted_G[widest], lon_G + 360, lon_G)
