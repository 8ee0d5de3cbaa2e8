"""Where on Earth a chip lies: its outline in EPSG:4326, right at the antimeridian too."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import antimeridian
import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.io import DatasetReader
from shapely.geometry import Polygon

from pipelines.imagery import WindowTuple

_POINTS_A_SIDE = 8  # a straight edge in the source's projection is a curve in longitude and latitude


@dataclass(frozen=True)
class Footprint:
    """A chip's outline."""

    geometry: bytes
    """WKB: Polygon, or MultiPolygon where it crosses the antimeridian (RFC 7946, 3.1.9)."""
    bbox: dict[str, float]
    """xmin, ymin, xmax, ymax in degrees; xmin > xmax where it crosses the antimeridian (RFC 7946, 5.2)."""


def footprint(dataset: DatasetReader, window: WindowTuple) -> Footprint | None:
    """Return a window's footprint, or None where the raster doesn't say where it lies."""
    if dataset.crs is None:
        return None
    columns_P, rows_P = _outline(window)
    transform = dataset.transform
    x_P = transform.a * columns_P + transform.b * rows_P + transform.c
    y_P = transform.d * columns_P + transform.e * rows_P + transform.f
    try:
        longitudes_P, latitudes_P = _to_lonlat(dataset.crs.to_wkt()).transform(x_P, y_P, errcheck=True)
    except ProjError:
        return None  # outside of where the projection is defined
    shape: Any = Polygon(np.column_stack([longitudes_P, latitudes_P]))
    if np.ptp(longitudes_P) > 180 or np.abs(longitudes_P).max() > 180:
        shape = antimeridian.fix_polygon(shape)
    xmin, ymin, xmax, ymax = antimeridian.bbox(shape) if shape.geom_type == "MultiPolygon" else shape.bounds
    return Footprint(
        geometry=shapely.to_wkb(shape, byte_order=1),
        bbox={"xmin": float(xmin), "ymin": float(ymin), "xmax": float(xmax), "ymax": float(ymax)},
    )


def _outline(window: WindowTuple) -> tuple[np.ndarray, np.ndarray]:
    """Return pixel columns_P and rows_P once around the window, with points along each side."""
    x, y, w, h = window
    steps = np.arange(_POINTS_A_SIDE) / _POINTS_A_SIDE
    ones, zeros = np.ones(_POINTS_A_SIDE), np.zeros(_POINTS_A_SIDE)
    right_P = np.concatenate([zeros, steps, ones, 1 - steps, [0]])
    down_P = np.concatenate([steps, ones, 1 - steps, zeros, [0]])
    return x + w * right_P, y + h * down_P


@lru_cache(maxsize=64)
def _to_lonlat(wkt: str) -> Transformer:
    return Transformer.from_crs(CRS.from_wkt(wkt), 4326, always_xy=True)


def hilbert_key(longitude_N: np.ndarray, latitude_N: np.ndarray, order: int = 16) -> np.ndarray:
    """Return each point's distance along the Hilbert curve over the world (uint64).

    Points without a place (NaN) come last. Skilling's construction, two dimensions, ``order`` bits each.
    """
    cells = 1 << order
    x_N = np.clip((np.nan_to_num(longitude_N) + 180) / 360 * cells, 0, cells - 1).astype(np.int64)
    y_N = np.clip((np.nan_to_num(latitude_N) + 90) / 180 * cells, 0, cells - 1).astype(np.int64)
    key_N = np.zeros(len(x_N), np.int64)
    side = cells >> 1
    while side:
        right_N, upper_N = (x_N & side) > 0, (y_N & side) > 0
        key_N += side * side * ((3 * right_N) ^ upper_N)
        flip_N = ~upper_N & right_N
        x_N, y_N = np.where(flip_N, side - 1 - x_N, x_N), np.where(flip_N, side - 1 - y_N, y_N)
        x_N, y_N = np.where(upper_N, x_N, y_N), np.where(upper_N, y_N, x_N)
        side >>= 1
    return np.where(np.isnan(longitude_N), np.iinfo(np.int64).max, key_N)
