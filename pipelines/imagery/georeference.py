"""Places on Earth of a raster's pixels, by its geotransform or its ground control points.

Shapes: P points.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from pipelines.imagery.control_points import fit_control_points

Floats = NDArray[np.float64]
Points = tuple[Floats, Floats]

_EARTH = Geod(ellps="WGS84")
_NAMES_A_FILE = re.compile(
    r'PARAMETERFILE\["[^"]*","(?!@null")|(grids|model|file|init|catalog)=(?!@null[ "])', re.IGNORECASE
)
_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of a raster's sides
_EDGE_METRES = 10_000  # a point that is mapped back farther away lies outside of the map
_PERIOD_TEST_DEGREES = 10.0  # of latitude
_STEP = 10  # pixels over which ground distances are measured, as rounding errors spoil shorter ones


@dataclass(frozen=True)
class Georeference:
    """Where on Earth a raster of ``width`` x ``height`` pixels lies."""

    width: int
    height: int
    _to_projection: Callable[[Floats, Floats], Points]
    _to_lonlat: Transformer

    def is_on_map(self, columns_P: Floats, rows_P: Floats) -> bool:
        """Return whether pixel corners lie on the map of their projection.

        Beyond the edge of a map such as the sinusoidal one, the formula continues on the other side of the
        Earth; a point there isn't mapped back to where it came from. In a cylindrical projection a point off
        the map is fine: it lies on the next map of the world, which continues this one.
        """
        try:
            x_P, y_P = self._to_projection(columns_P, rows_P)
            lon_P, lat_P = self._to_lonlat.transform(x_P, y_P, errcheck=True)
            if _is_geographic(self._to_lonlat):
                return True
            back_x_P, back_y_P = self._to_lonlat.transform(lon_P, lat_P, direction="INVERSE")
            off_x_P, off_y_P = x_P - back_x_P, y_P - back_y_P
            far_P = ~(np.hypot(off_x_P, off_y_P) <= _EDGE_METRES / _metres_per_unit(self._to_lonlat))
            if not far_P.any():
                return True
            return _is_period(self._to_lonlat, lon_P[far_P], lat_P[far_P], (off_x_P[far_P], off_y_P[far_P]))
        except (ProjError, RasterioError):
            return False

    def lonlat(self, columns_P: Floats, rows_P: Floats) -> Points | None:
        """Return longitudes_P and latitudes_P [degrees] of pixel corners; None if the projection has none."""
        try:
            x_P, y_P = self._to_projection(columns_P, rows_P)
            longitudes_P, latitudes_P = self._to_lonlat.transform(x_P, y_P, errcheck=True)
        except (ProjError, RasterioError):
            return None
        if not (np.isfinite(longitudes_P).all() and np.isfinite(latitudes_P).all()):
            return None
        return longitudes_P, np.clip(latitudes_P, -90, 90)  # pixels may overhang a pole by half

    def metres_per_pixel(self) -> tuple[float, float] | None:
        """Return the ground sampling distance [metres] along rows and along columns.

        It is measured at the raster's centre or, if that is off the map, at the nearest of a grid of points
        that is on it; None if none of them is.
        """
        shares = [(across, down) for across in _SHARES for down in _SHARES]
        for across, down in sorted(shares, key=lambda share: math.hypot(share[0] - 0.5, share[1] - 0.5)):
            metres = self._metres_at(self.width * across, self.height * down)
            if metres is not None:
                return metres
        return None

    def _metres_at(self, column: float, row: float) -> tuple[float, float] | None:
        across, down = min(_STEP, self.width), min(_STEP, self.height)
        columns_P = np.array([column - across / 2, column + across / 2, column, column])
        rows_P = np.array([row, row, row - down / 2, row + down / 2])
        points = self.lonlat(columns_P, rows_P)
        if points is None or not self.is_on_map(columns_P, rows_P):
            return None
        lon_P, lat_P = points
        _, _, metres = _EARTH.inv(lon_P[::2], lat_P[::2], lon_P[1::2], lat_P[1::2])
        distance_across, distance_down = float(metres[0]) / across, float(metres[1]) / down
        return (distance_across, distance_down) if min(distance_across, distance_down) > 0 else None


def georeference(dataset: DatasetReader) -> Georeference | None:
    """Return where a raster lies; None without a CRS, or with neither geotransform nor GCPs.

    Also None if the CRS names a file or isn't of the Earth, or if the ground control points can't be fitted.
    RPCs aren't used: without a terrain model they mislead in mountains.
    """
    points, points_crs = dataset.gcps
    try:
        if dataset.crs is not None and not dataset.transform.is_identity:
            to_projection, to_lonlat = _by_transform(dataset), _to_lonlat(dataset.crs.to_wkt())
        elif points and points_crs is not None:
            fitted = fit_control_points(points, _to_lonlat(points_crs.to_wkt()))
            if fitted is None:
                return None
            to_projection, to_lonlat = fitted
        else:
            return None
    except (CRSError, ProjError):
        return None  # for example local coordinates of a building site
    return Georeference(dataset.width, dataset.height, to_projection, to_lonlat)


def _by_transform(dataset: DatasetReader) -> Callable[[Floats, Floats], Points]:
    place = dataset.transform

    def to_projection(columns_P: Floats, rows_P: Floats) -> Points:
        return (
            place.a * columns_P + place.b * rows_P + place.c,
            place.d * columns_P + place.e * rows_P + place.f,
        )

    return to_projection


@lru_cache(maxsize=64)
def _to_lonlat(wkt: str) -> Transformer:
    """Return the transformer to longitude and latitude. Raises CRSError, also if the CRS names a file.

    A CRS may name grids or models of a datum shift by path, and PROJ would open any path that an image names.
    """
    crs = CRS.from_wkt(wkt)  # this alone opens nothing
    if _NAMES_A_FILE.search(crs.to_wkt()):
        raise CRSError("the CRS names a file")
    return Transformer.from_crs(crs, 4326, always_xy=True)


def _is_geographic(to_lonlat: Transformer) -> bool:
    source = to_lonlat.source_crs
    return source is not None and bool(source.is_geographic)


def _metres_per_unit(to_lonlat: Transformer) -> float:
    source = to_lonlat.source_crs
    axes = source.axis_info if source is not None else []
    return float(axes[0].unit_conversion_factor) if axes and axes[0].unit_conversion_factor else 1.0


def _is_period(to_lonlat: Transformer, lon_P: Floats, lat_P: Floats, off_P: Points) -> bool:
    """Return whether the map repeats at this offset [its units], at other latitudes too."""
    nearer_P = lat_P - np.copysign(_PERIOD_TEST_DEGREES, lat_P)
    x_P, y_P = to_lonlat.transform(lon_P, nearer_P, direction="INVERSE")
    there_P, lat_there_P = to_lonlat.transform(x_P + off_P[0], y_P + off_P[1])
    turn_P = np.abs((there_P - lon_P + 180) % 360 - 180)
    return bool(np.all((turn_P < 0.1) & (np.abs(lat_there_P - nearer_P) < 0.1)))
