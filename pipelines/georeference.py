"""From pixels of a raster to places on Earth, by its geotransform or by its ground control points.

Shapes: P points.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.control import GroundControlPoint
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import GCPTransformer

Floats = NDArray[np.float64]
Points = tuple[Floats, Floats]

_EARTH = Geod(ellps="WGS84")
_NAMES_A_FILE = re.compile(
    r'PARAMETERFILE\["[^"]*","(?!@null")|(grids|model|file|init|catalog)=(?!@null[ "])', re.IGNORECASE
)
_STEP = 10  # pixels over which ground distances are measured: more than the projections' own rounding


@dataclass(frozen=True)
class Georeference:
    """Where a raster of ``width`` x ``height`` pixels lies."""

    width: int
    height: int
    _to_projection: Callable[[Floats, Floats], Points]
    _to_lonlat: Transformer

    def lonlat(self, columns_P: Floats, rows_P: Floats) -> Points | None:
        """Return longitudes_P and latitudes_P [degrees] of pixel corners, None outside of the projection."""
        try:
            x_P, y_P = self._to_projection(columns_P, rows_P)
            longitudes_P, latitudes_P = self._to_lonlat.transform(x_P, y_P, errcheck=True)
        except (ProjError, RasterioError):
            return None
        if not (np.isfinite(longitudes_P).all() and np.isfinite(latitudes_P).all()):
            return None
        return longitudes_P, np.clip(latitudes_P, -90, 90)  # pixels may overhang a pole by half

    def metres_per_pixel(self) -> tuple[float, float] | None:
        """Return the ground sampling distance at the raster's centre, along rows and along columns."""
        across, down = min(_STEP, self.width), min(_STEP, self.height)
        column, row = self.width / 2, self.height / 2
        columns_P = np.array([column - across / 2, column + across / 2, column, column])
        rows_P = np.array([row, row, row - down / 2, row + down / 2])
        points = self.lonlat(columns_P, rows_P)
        if points is None:
            return None
        lon_P, lat_P = points
        _, _, metres = _EARTH.inv(lon_P[::2], lat_P[::2], lon_P[1::2], lat_P[1::2])
        distance_across, distance_down = float(metres[0]) / across, float(metres[1]) / down
        return (distance_across, distance_down) if min(distance_across, distance_down) > 0 else None


def georeference(dataset: DatasetReader) -> Georeference | None:
    """Return where a raster lies, or None where it doesn't say: no CRS, or neither geotransform nor GCPs.

    None too where the CRS names a file. Ground control points are fitted by GDAL's polynomial, of the order
    that their number allows. RPCs aren't read: without a terrain model they mislead in mountains.
    """
    points, points_crs = dataset.gcps
    if dataset.crs is not None and not dataset.transform.is_identity:
        to_projection, crs = _by_transform(dataset), dataset.crs
    elif points and points_crs is not None:
        to_projection, crs = _by_control_points(points), points_crs
    else:
        return None
    try:
        to_lonlat = _to_lonlat(crs.to_wkt())
    except (CRSError, ProjError):
        return None  # a site's own coordinates
    return Georeference(dataset.width, dataset.height, to_projection, to_lonlat)


def _by_transform(dataset: DatasetReader) -> Callable[[Floats, Floats], Points]:
    place = dataset.transform

    def to_projection(columns_P: Floats, rows_P: Floats) -> Points:
        return (
            place.a * columns_P + place.b * rows_P + place.c,
            place.d * columns_P + place.e * rows_P + place.f,
        )

    return to_projection


def _by_control_points(points: Sequence[GroundControlPoint]) -> Callable[[Floats, Floats], Points]:
    def to_projection(columns_P: Floats, rows_P: Floats) -> Points:
        with GCPTransformer(points) as fitted:
            x_P, y_P = fitted.xy(rows_P, columns_P, offset="ul")
        return np.asarray(x_P, np.float64), np.asarray(y_P, np.float64)

    return to_projection


@lru_cache(maxsize=64)
def _to_lonlat(wkt: str) -> Transformer:
    """Return the way to longitude and latitude. Raises CRSError, also where the CRS names a file for it.

    A CRS may name grids or models of a datum shift by path, and PROJ would open whatever an image says.
    """
    crs = CRS.from_wkt(wkt)  # this alone opens nothing
    if _NAMES_A_FILE.search(crs.to_wkt()):
        raise CRSError("the CRS names a file")
    return Transformer.from_crs(crs, 4326, always_xy=True)
