"""Turns outlines (WKB) into GeoJSON, with as many decimals as `ACCURACY` needs: a few bytes a position.

Source of WKB: OpenGIS Simple Feature Access, part 1 (OGC 06-103r4), 8.2.

Shapes: M outlines, P positions of all of them, D numbers of decimals.
"""

from bisect import bisect_right
from collections.abc import Sequence
from struct import unpack_from

import numpy as np
import orjson
import shapely

from pipelines.imagery.footprints import ACCURACY

_SCALES = [10.0**decimals for decimals in range(9, 2, -1)]
"""Positions in degrees have nine decimals at most, 0.1 mm, and three at least, 100 m."""
_SHORTEST = [1 / (2 * ACCURACY * scale) for scale in _SCALES[1:]]
"""Shortest side of an outline for which the second of these scales is enough, the third, ... [degrees].

Half a unit of the last decimal is then at most `ACCURACY` of the shortest side of the outline's box.
"""
_RING = bytes([1, 3, 0, 0, 0, 1, 0, 0, 0])
"""How the WKB of a polygon with one ring begins: little-endian, a polygon without heights, one ring."""
_FEW = 20
"""Rings: up to so many are written sooner without shapely, whose calls take long to begin."""

Outline = orjson.Fragment | dict[str, object] | None


def geojson(outlines: Sequence[bytes | None]) -> list[Outline]:
    """Return outlines as GeoJSON geometries, as orjson writes them; None where there is no outline."""
    if len(outlines) <= _FEW and all(outline is None or outline[:9] == _RING for outline in outlines):
        return [None if outline is None else _ring(outline) for outline in outlines]
    return _any(outlines)


def _ring(outline: bytes) -> Outline:
    """Return a polygon of one ring."""
    numbers = unpack_from(f"<{2 * int.from_bytes(outline[9:13], 'little')}d", outline, 13)
    x, y = numbers[::2], numbers[1::2]
    side = min(max(x) - min(x), max(y) - min(y))
    scale = _SCALES[bisect_right(_SHORTEST, side)]
    positions = [
        (round(lon * scale) / scale, round(lat * scale) / scale) for lon, lat in zip(x, y, strict=True)
    ]
    return {"type": "Polygon", "coordinates": [positions]}


def _any(outlines: Sequence[bytes | None]) -> list[Outline]:
    """Return outlines of any kind."""
    shapes_M = shapely.from_wkb(np.array(outlines, object))
    positions_P2, owners_P = shapely.get_coordinates(shapes_M, return_index=True)
    west_M, south_M, east_M, north_M = shapely.bounds(shapes_M).T
    places_M = np.searchsorted(_SHORTEST, np.minimum(east_M - west_M, north_M - south_M), "right")
    scales_P = np.array(_SCALES)[places_M][owners_P, None]
    rounded = shapely.set_coordinates(shapes_M, np.round(positions_P2 * scales_P) / scales_P + 0.0)  # no -0.0
    return [None if text is None else orjson.Fragment(text) for text in shapely.to_geojson(rounded)]
