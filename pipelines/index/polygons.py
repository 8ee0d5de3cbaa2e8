"""Filters by a polygon: boxes are compared first, footprints only where boxes leave it open.

Shapes: N rows, B blocks of rows, M rows to be tested one by one.
"""

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from pipelines.hamming.row_filter import BY_BITS, NONE, SOME, Columns, RowFilter, filter_by_mask, rows_of
from pipelines.index.filters import Rectangles, Spans

OUTLINES = 10_000
"""Footprints in memory at a time."""


def rectangles_of(shape: BaseGeometry) -> Rectangles:
    """Return the bounds of each part of a shape; over the antimeridian it has several (RFC 7946, 3.1.9)."""
    parts = shapely.get_parts(shape)
    bounds: Rectangles = [tuple(part) for part in shapely.bounds(parts[~shapely.is_empty(parts)]).tolist()]
    return bounds


def select_touching(
    shape: BaseGeometry, row_filter: RowFilter, columns: Columns, spans: Spans, footprints: pa.ChunkedArray
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
    inside_M[~inside_M] = _touches(shape, footprints, candidates_M[~inside_M])
    # blocks inside the shape, of which only some rows pass the other filter
    partly_B = np.flatnonzero(sure_B & (row_filter.verdicts_B == SOME)).astype(np.uint32)
    mask_N = np.zeros(row_filter.rows, bool)
    mask_N[candidates_M[inside_M]] = True
    mask_N[rows_of(row_filter._replace(blocks_B=partly_B))] = True
    bits_S = filter_by_mask(mask_N).bits_S
    return row_filter._replace(kind=BY_BITS, verdicts_B=verdicts_B, bits_S=bits_S)


def _touches(
    shape: BaseGeometry, footprints: pa.ChunkedArray, rows_M: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which rows' footprints touch a shape; the rows are ascending.

    `OUTLINES` are read at a time, and chunk by chunk: to take from a chunked column, Arrow joins its chunks,
    which together may exceed 2 GiB.
    """
    touches = [np.empty(0, bool)]
    start, end = 0, 0
    for chunk in footprints.chunks:
        start, end = end, end + len(chunk)
        first, last = np.searchsorted(rows_M, [start, end])
        for at in range(first, last, OUTLINES):
            rows = pa.array(rows_M[at : min(at + OUTLINES, last)] - start)
            outlines = chunk.take(rows).to_numpy(zero_copy_only=False)
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
