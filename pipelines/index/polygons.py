"""Filtering by a polygon: boxes first, footprints only where boxes can't tell.

Shapes: N rows, B blocks of rows, M rows in doubt.
"""

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from pipelines.hamming.selection import NONE, SOME, Columns, Selection, rows_of, select
from pipelines.index.filters import Rectangles, Spans

OUTLINES = 10_000
"""Footprints in memory at a time."""


def rectangles_of(shape: BaseGeometry) -> Rectangles:
    """Return what bounds each part of a shape; over the antimeridian it is in parts (RFC 7946, 3.1.9)."""
    parts = shapely.get_parts(shape)
    bounds: Rectangles = [tuple(part) for part in shapely.bounds(parts[~shapely.is_empty(parts)]).tolist()]
    return bounds


def select_touching(
    shape: BaseGeometry, selection: Selection, columns: Columns, spans: Spans, footprints: pa.ChunkedArray
) -> Selection:
    """Return the rows of a selection whose footprint (WKB) touches a shape.

    Blocks that lie in the shape as a whole aren't looked into.
    """
    shapely.prepare(shape)
    blocks = selection.verdicts_B.size
    sure_B = ~spans.unplaced_P[:blocks] & shapely.contains(shape, shapely.box(*spans.boxes_4P[:, :blocks]))
    in_doubt_B = (selection.verdicts_B != NONE) & ~sure_B
    blocks_B = np.flatnonzero(in_doubt_B).astype(np.uint32)
    verdicts_B = np.where(in_doubt_B, SOME, selection.verdicts_B).astype(np.uint8)
    candidates_M = rows_of(selection._replace(blocks_B=blocks_B))
    inside_M = _is_inside(shape, columns.boxes_N4[candidates_M])
    inside_M[~inside_M] = _touches(shape, footprints, candidates_M[~inside_M])
    # blocks that the other criteria left in doubt keep their rows' answers as bits
    unsure = rows_of(
        selection._replace(blocks_B=np.flatnonzero(sure_B & (selection.verdicts_B == SOME)).astype(np.uint32))
    )
    mask_N = np.zeros(selection.rows, bool)
    mask_N[np.concatenate([candidates_M[inside_M], unsure])] = True
    return selection._replace(verdicts_B=verdicts_B, bits_S=select(mask_N).bits_S)


def _touches(
    shape: BaseGeometry, footprints: pa.ChunkedArray, rows_M: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which rows' footprints touch a shape; the rows are ascending. A bounded number is read at once.

    Chunk by chunk: to take from a chunked column Arrow joins its chunks, which together may exceed 2 GiB.
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
    """Return which boxes lie in the shape as a whole, and with them their footprints."""
    west_M, south_M, east_M, north_M = boxes_M4.T
    simple_M = west_M <= east_M  # over the antimeridian the box wouldn't be the box
    inside_M = np.zeros(len(boxes_M4), bool)
    inside_M[simple_M] = shapely.contains(
        shape, shapely.box(west_M[simple_M], south_M[simple_M], east_M[simple_M], north_M[simple_M])
    )
    return inside_M
