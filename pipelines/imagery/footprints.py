"""A chip's outline on Earth in EPSG:4326, correct at the antimeridian and at the poles too.

Shapes: P points of the outline.
"""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from pipelines.imagery.georeference import Floats, Georeference, Points
from pipelines.imagery.window import WindowTuple

ACCURACY = 1e-3
"""Largest distance of an outline from the true curve of a side in longitude and latitude, as a share of the
chip's shortest side. Only close to a pole even 64 points a side aren't enough for it."""

_POINTS_A_SIDE = (8, 64)  # powers of two: few are tried first, many if these aren't enough
_POLAR = 80.0  # degrees of latitude; beyond it many points are taken at once
_AT_POLE = 90 - 1e-7  # degrees: within a centimetre


@dataclass(frozen=True)
class Footprint:
    """A chip's outline."""

    geometry: bytes
    """WKB: Polygon, or MultiPolygon if it crosses the antimeridian (RFC 7946, 3.1.9)."""
    bbox: dict[str, float]
    """xmin, ymin, xmax, ymax in degrees; xmin > xmax if it crosses the antimeridian (RFC 7946, 5.2)."""


def footprint(place: Georeference | None, window: WindowTuple) -> Footprint | None:
    """Return a window's footprint, without the parts of the window that lie outside of the raster.

    None if the raster has no georeference, or the window isn't a shape on Earth: it lies outside of the
    projection's domain, across the edge of its map, or is folded by ground control points.
    """
    outline = _outline(place, window) if place else None
    if outline is None:
        return None
    ring = Polygon(np.column_stack(_closed_around_pole(*outline)))
    if not ring.is_valid or ring.area == 0:
        return None
    west, south, east, north = ring.bounds
    parts = _split(ring)
    if east - west >= 360:
        parts = _parts(shapely.union_all(parts, grid_size=1e-9))  # around the world: no seam
        west, east = -180.0, 180.0
    elif len(parts) > 1:
        west, east = ((side + 180) % 360 - 180 for side in (west, east))
        # exactly the bounds of the parts: a box that ends before its outline would hide it from filters
        west = min((part.bounds[0] for part in parts), key=lambda side: abs(side - west))
        east = min((part.bounds[2] for part in parts), key=lambda side: abs(side - east))
    else:
        west, _, east, _ = parts[0].bounds
    shape = shapely.orient_polygons(parts[0] if len(parts) == 1 else MultiPolygon(parts))
    return Footprint(
        geometry=shapely.to_wkb(shape, byte_order=1),
        bbox={"xmin": west, "ymin": south, "xmax": east, "ymax": north},
    )


def _outline(place: Georeference, window: WindowTuple) -> Points | None:
    """Return longitudes_P and latitudes_P once around; longitudes go on beyond 180 if the outline does.

    Each side is divided into few points, or into many if its sides bend a lot between these. Only as many are
    kept as `ACCURACY` needs.
    """
    for points_a_side in _POINTS_A_SIDE:
        points = _corners_and_sides(place, window, points_a_side)
        if points is None:
            return None
        lon_P, lat_P = points
        if points_a_side < _POINTS_A_SIDE[-1] and np.abs(lat_P).max() > _POLAR:
            continue
        first = _first_point(lat_P, points_a_side)
        around_P = np.arange(first, first + len(lon_P) + 1) % len(lon_P)
        lon_P, lat_P = np.unwrap(lon_P[around_P], period=360), lat_P[around_P]
        step = 1 if first % points_a_side else _widest_step(lon_P, lat_P, points_a_side)
        if step > 1:
            break
    is_kept_P = (around_P % step == 0) | _alone_at_pole(lat_P)
    is_kept_P[[0, -1]] = True
    return _with_edge_at_pole(lon_P[is_kept_P], lat_P[is_kept_P])


def _first_point(lat_P: Floats, points_a_side: int) -> int:
    """Return the index of a corner; if all are at a pole, where longitudes mean nothing, of another point."""
    corner = points_a_side * int(np.argmin(np.abs(lat_P[::points_a_side])))
    return corner if abs(lat_P[corner]) < _AT_POLE else int(np.argmin(np.abs(lat_P)))


def _widest_step(lon_P: Floats, lat_P: Floats, points_a_side: int) -> int:
    """Return the largest step from one kept point to the next that `ACCURACY` allows; 1: all are needed.

    The outline begins and ends with a corner. A degree of longitude is taken as long as it is at the point
    nearest to the equator, where it is longest.
    """
    x_P = lon_P * math.cos(math.radians(float(np.abs(lat_P).min())))
    xy_P2 = np.column_stack([x_P, lat_P])
    sides = np.hypot(*np.diff(xy_P2, axis=0).T).reshape(4, points_a_side).sum(1)
    step = points_a_side
    while step > 1 and _bend(xy_P2, step) > ACCURACY * float(sides.min()):
        step //= 2
    return step


def _bend(xy_P2: Floats, step: int) -> float:
    """Return the largest distance of a point from the chord between the kept points, every ``step``-th."""
    knots_K2 = xy_P2[::step]
    chords_K2 = np.diff(knots_K2, axis=0)
    passed_KS2 = xy_P2[:-1].reshape(len(chords_K2), step, 2) - knots_K2[:-1, None]
    across_KS = chords_K2[:, None, 0] * passed_KS2[..., 1] - chords_K2[:, None, 1] * passed_KS2[..., 0]
    lengths_K = np.maximum(np.hypot(*chords_K2.T), 1e-300)  # no division by 0 if a side is one point
    return float((np.abs(across_KS) / lengths_K[:, None]).max())


def _corners_and_sides(place: Georeference, window: WindowTuple, points_a_side: int) -> Points | None:
    """Return longitudes_P and latitudes_P along the window's sides, each corner once."""
    x, y = window[:2]
    w, h = min(window[2], place.width - x), min(window[3], place.height - y)
    steps = np.arange(points_a_side) / points_a_side
    ones, zeros = np.ones(points_a_side), np.zeros(points_a_side)
    columns_P = x + w * np.concatenate([zeros, steps, ones, 1 - steps])
    rows_P = y + h * np.concatenate([steps, ones, 1 - steps, zeros])
    points = place.lonlat(columns_P, rows_P)
    if points is None or not place.is_on_map(*_a_little_inside(columns_P, rows_P)):
        return None
    # the longitude of a point on the pole is arbitrary; a little inside it shows which way the outline turns
    alone_P = _alone_at_pole(points[1])
    columns_P[alone_P] += 1e-3 * (x + w / 2 - columns_P[alone_P])
    rows_P[alone_P] += 1e-3 * (y + h / 2 - rows_P[alone_P])
    inside = place.lonlat(columns_P, rows_P) if alone_P.any() else points
    if inside is None:
        return None
    inside[1][alone_P] = np.copysign(90, inside[1][alone_P])
    return inside


def _a_little_inside(columns_P: Floats, rows_P: Floats) -> Points:
    """Return the points moved slightly towards the middle: an outline may lie on the very edge of its map."""
    column, row = (columns_P.min() + columns_P.max()) / 2, (rows_P.min() + rows_P.max()) / 2
    return columns_P + 1e-3 * (column - columns_P), rows_P + 1e-3 * (row - rows_P)


def _alone_at_pole(lat_P: Floats) -> NDArray[np.bool_]:
    """Return which points lie on a pole alone, unlike the upper edge of a map of the world, where all do."""
    at_pole_P = np.abs(lat_P) > _AT_POLE
    if not at_pole_P.any():  # nearly all chips
        return at_pole_P
    return at_pole_P & ~np.roll(at_pole_P, 1) & ~np.roll(at_pole_P, -1)


def _with_edge_at_pole(lon_P: Floats, lat_P: Floats) -> Points:
    """Replace a point on the pole by what it is on a map: an edge, from one meridian to another."""
    corners = np.flatnonzero(_alone_at_pole(lat_P))
    for corner in corners[::-1]:
        between = lon_P[corner - 1], lon_P[corner + 1]
        lon_P = np.concatenate([lon_P[:corner], between, lon_P[corner + 1 :]])
        lat_P = np.insert(lat_P, corner, lat_P[corner])
    return lon_P, lat_P


def _closed_around_pole(lon_P: Floats, lat_P: Floats) -> Points:
    """Return the outline; if it goes around a pole, it is closed along that pole."""
    turn = round((lon_P[-1] - lon_P[0]) / 360)
    lon_P[-1] = lon_P[0] + 360 * turn  # removes a rounding error
    if not turn:
        return lon_P, lat_P
    pole = math.copysign(90, float(lat_P.mean()))
    return np.concatenate([lon_P, lon_P[[-1, 0]]]), np.concatenate([lat_P, [pole, pole]])


def _split(ring: Polygon) -> list[Polygon]:
    """Return the parts of a ring between antimeridians, each moved to -180..180, from west to east."""
    west, _, east, _ = ring.bounds
    if west >= -180 and east <= 180:
        return [ring]
    parts: list[Polygon] = []
    for turn in range(math.floor((west + 180) / 360), math.ceil((east - 180) / 360) + 1):
        world = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
        for part in _parts(ring.intersection(world)):
            if part.area > 1e-9 * ring.area:  # no slivers from rounding
                lonlat_P2 = shapely.get_coordinates(part) - [360 * turn, 0]
                parts.append(Polygon(np.clip(lonlat_P2, [-180, -90], [180, 90])))
    return parts


def _parts(shape: BaseGeometry) -> list[Polygon]:
    return [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
