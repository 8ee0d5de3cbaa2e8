"""How many rows lie in each cell of fixed grids over the Earth: made with the index, quick to ask.

At level z a cell is 360 / 2^z degrees wide and high. Cell (x, y) begins at longitude -180 + x * 360 / 2^z,
latitude -90 + y * 360 / 2^z. A row is in the cell that has the centre of its box. Only cells with rows are
kept, so that the counts of shards add up to those of the table.

Shapes: N rows, C cells with rows of all levels, one level after the other, ordered by y, then x; A cells that
are asked for.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.jit import Int64s
from pipelines.hamming.row_filter import Floats

FINEST = 14
"""Level: its cells are .022 degrees wide, about as much as a chip of 256 pixels of 10 metres."""
_COLUMN_BITS = 32

Box = tuple[float, float, float, float]


class Coverage(NamedTuple):
    """The cells of all levels."""

    keys_C: Int64s
    """(y << 32) + x."""
    counts_C: Int64s
    starts: Int64s
    """Where each level's cells start, from level 0 on, and one more at the end."""


class Cells(NamedTuple):
    """The cells with rows that touch a box."""

    x_A: Int64s
    y_A: Int64s
    counts_A: Int64s


def coverage_of(boxes_N4: Floats) -> Coverage:
    """Return the cells of rows; ``boxes_N4`` as of `Columns`: rows without a place are in none."""
    lon_N, lat_N = centres_of(boxes_N4[~np.isnan(boxes_N4[:, 0])])
    side = 2**FINEST
    x_N = np.minimum(((lon_N + 180) * (side / 360)).astype(np.int64), side - 1)
    y_N = np.minimum(((lat_N + 90) * (side / 360)).astype(np.int64), side // 2 - 1)
    keys, counts = np.unique((y_N << _COLUMN_BITS) + x_N, return_counts=True)
    levels = [(keys, counts.astype(np.int64))]
    for _ in range(FINEST):
        levels.append(_coarser(*levels[-1]))
    levels.reverse()
    starts = np.cumsum([0, *(len(keys) for keys, _ in levels)])
    return Coverage(
        np.concatenate([keys for keys, _ in levels]), np.concatenate([counts for _, counts in levels]), starts
    )


def _coarser(keys_C: Int64s, counts_C: Int64s) -> tuple[Int64s, Int64s]:
    x_C, y_C = keys_C & ((1 << _COLUMN_BITS) - 1), keys_C >> _COLUMN_BITS
    parents, places_C = np.unique(((y_C >> 1) << _COLUMN_BITS) + (x_C >> 1), return_inverse=True)
    return parents, np.bincount(places_C, counts_C, len(parents)).astype(np.int64)


def centres_of(boxes_N4: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitudes, -180 to below 180, and latitudes of the centres of boxes [degrees]."""
    west_N, south_N, east_N, north_N = boxes_N4.T
    width_N = east_N - west_N
    width_N = np.where(width_N < 0, width_N + 360, width_N)
    return (west_N + width_N / 2 + 180) % 360 - 180, (south_N + north_N) / 2


def level_for(box: Box, width: int, height: int) -> int:
    """Return the finest level at which at most ``width`` x ``height`` cells span a box."""
    west, south, east, north = box
    across = east - west if west < east else east - west + 360
    for level in range(FINEST, 0, -1):
        cell = 360 / 2**level
        if across / cell <= width and (north - south) / cell <= height:
            return level
    return 0


def cells_in(coverage: Coverage, box: Box, level: int) -> Cells:
    """Return a level's cells with rows that touch a box; ordered by y, then x."""
    west, south, east, north = box
    cell = 360 / 2**level
    keys_C = coverage.keys_C[coverage.starts[level] : coverage.starts[level + 1]]
    counts_C = coverage.counts_C[coverage.starts[level] : coverage.starts[level + 1]]
    first, last = (int(np.floor((side + 90) / cell)) for side in (south, north))
    within = slice(
        np.searchsorted(keys_C, first << _COLUMN_BITS), np.searchsorted(keys_C, (last + 1) << _COLUMN_BITS)
    )
    keys_A, counts_A = keys_C[within], counts_C[within]
    x_A, y_A = keys_A & ((1 << _COLUMN_BITS) - 1), keys_A >> _COLUMN_BITS
    left, right = (int(np.floor((side + 180) / cell)) for side in (west, east))
    touches_A = (x_A >= left) & (x_A <= right) if west < east else (x_A >= left) | (x_A <= right)
    return Cells(x_A[touches_A], y_A[touches_A], counts_A[touches_A])
