"""Filtering by a polygon: boxes first, footprints only where boxes can't tell.

Shapes: N rows, B blocks of rows, M rows in doubt.
"""

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from pipelines.index.filters import Columns, Rectangles, Spans
from pipelines.index.selection import ROWS, Selection, select


def rectangles_of(shape: BaseGeometry) -> Rectangles:
    """Return what bounds each part of a shape; over the antimeridian it is in parts (RFC 7946, 3.1.9)."""
    parts = shapely.get_parts(shape)
    bounds: Rectangles = [tuple(part) for part in shapely.bounds(parts[~shapely.is_empty(parts)]).tolist()]
    return bounds


def select_touching(
    shape: BaseGeometry, selection: Selection, columns: Columns, spans: Spans, footprints: pa.ChunkedArray
) -> Selection:
    """Return the rows of a selection whose footprint (WKB) touches a shape.

    Blocks that lie in the shape as a whole are taken without a look at their rows.
    """
    shapely.prepare(shape)
    bits_N = np.unpackbits(selection.bits_S.view(np.uint8), bitorder="little", count=len(columns.times_N))
    mask_N = bits_N.astype(bool)
    sure_B = ~spans.unplaced_B & shapely.contains(shape, shapely.box(*spans.boxes_B4.T))
    rows_M = np.flatnonzero(mask_N)
    rows_M = rows_M[~sure_B[rows_M // ROWS]]
    rows_M = rows_M[~_is_inside(shape, columns.boxes_N4[rows_M])]
    outlines_M = shapely.from_wkb(footprints.take(pa.array(rows_M)).to_numpy(zero_copy_only=False))
    mask_N[rows_M] = shapely.intersects(shape, outlines_M)
    return select(mask_N)


def _is_inside(shape: BaseGeometry, boxes_M4: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which boxes lie in the shape as a whole, and with them their footprints."""
    west_M, south_M, east_M, north_M = boxes_M4.T
    simple_M = west_M <= east_M  # over the antimeridian the box wouldn't be the box
    inside_M = np.zeros(len(boxes_M4), bool)
    inside_M[simple_M] = shapely.contains(
        shape, shapely.box(west_M[simple_M], south_M[simple_M], east_M[simple_M], north_M[simple_M])
    )
    return inside_M
