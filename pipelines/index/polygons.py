"""Filters by a polygon: boxes are compared first, footprints only where boxes leave it open.

Shapes: N rows, B blocks of rows, M rows to be tested one by one.
"""

from collections.abc import Callable, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from pipelines.hamming.row_filter import BY_BITS, NONE, SOME, Columns, RowFilter, filter_by_mask, rows_of
from pipelines.index.filters import Rectangles, Spans

OutlinesOf = Callable[[NDArray[np.int64]], Sequence[bytes | None]]
"""From rows to their footprints as WKB; None where a row has none."""

OUTLINES = 10_000
"""Footprints in memory at a time."""


def rectangles_of(shape: BaseGeometry) -> Rectangles:
    """Return the bounds of each part of a shape; over the antimeridian it has several (RFC 7946, 3.1.9)."""
    parts = shapely.get_parts(shape)
    bounds: Rectangles = [tuple(part) for part in shapely.bounds(parts[~shapely.is_empty(parts)]).tolist()]
    return bounds


def select_touching(
    shape: BaseGeometry, row_filter: RowFilter, columns: Columns, spans: Spans, outlines_of: OutlinesOf
) -> RowFilter:
    """Return a filter. A row passes it if it passes ``row_filter`` and its footprint (WKB) touches the shape.

    ``row_filter`` was made by `select_rows`. No footprint is read in blocks that lie wholly in the shape.
    """
    shapely.prepare(shape)
    blocks = row_filter.verdicts_B.size
    sure_B = ~spans.unplaced_P[:blocks] & shapely.contains(shape, shapely.box(*spans.boxes_4P[:, :blocks]))
    in_doubt_B = (row_filter.verdicts_B != NONE) & ~sure_B
    blocks_B = np.flatnonzero(in_doubt_B).astype(np.uint32)
    verdicts_B = np.where(in_doubt_B, SOME, row_filter.verdicts_B).astype(np.uint8)
    candidates_M = rows_of(row_filter._replace(blocks_B=blocks_B))
    inside_M = _is_inside(shape, columns.boxes_N4[candidates_M])
    inside_M[~inside_M] = _touches(shape, outlines_of, candidates_M[~inside_M])
    # blocks inside the shape, of which only some rows pass the other filter
    partly_B = np.flatnonzero(sure_B & (row_filter.verdicts_B == SOME)).astype(np.uint32)
    mask_N = np.zeros(row_filter.rows, bool)
    mask_N[candidates_M[inside_M]] = True
    mask_N[rows_of(row_filter._replace(blocks_B=partly_B))] = True
    bits_S = filter_by_mask(mask_N).bits_S
    return row_filter._replace(kind=BY_BITS, verdicts_B=verdicts_B, bits_S=bits_S)


def _touches(shape: BaseGeometry, outlines_of: OutlinesOf, rows_M: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows' footprints touch a shape; `OUTLINES` are read at a time."""
    touches = [np.empty(0, bool)]
    for first in range(0, len(rows_M), OUTLINES):
        outlines = np.array(outlines_of(rows_M[first : first + OUTLINES]), object)
        touches.append(shapely.intersects(shape, shapely.from_wkb(outlines)))
    return np.concatenate(touches)


def _is_inside(shape: BaseGeometry, boxes_M4: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which boxes lie in the shape as a whole; so do the footprints in them."""
    west_M, south_M, east_M, north_M = boxes_M4.T
    simple_M = west_M <= east_M  # across the antimeridian west and east make another box
    inside_M = np.zeros(len(boxes_M4), bool)
    inside_M[simple_M] = shapely.contains(
        shape, shapely.box(west_M[simple_M], south_M[simple_M], east_M[simple_M], north_M[simple_M])
    )
    return inside_M
