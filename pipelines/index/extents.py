"""What each collection spans: chips, box, interval, chips of each month. Made with the index.

Everything is a count, a least or a greatest, so that the extents of shards join to those of the table.

Shapes: N rows, C collections, M pairs of a collection and a month.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.jit import Int64s
from pipelines.hamming.row_filter import NO_TIME, Columns, Floats

_NEVER = np.iinfo(np.int64).max


class Extents(NamedTuple):
    """What the rows of each collection span."""

    chips_C: Int64s
    unplaced_C: Int64s
    """Chips without a place."""
    undated_C: Int64s
    """Chips without a time."""
    boxes_C6: Floats
    """Least south and greatest north; least west and greatest east, with longitudes from -180 to 180; the
    same with longitudes from 0 to 360. Infinite where no chip has a place [degrees]."""
    times_C2: Int64s
    """First and last [microseconds since 1970]; first > last where no chip has a time."""
    months_M3: Int64s
    """Collection, month since January 1970, chips."""


def extents_of(columns: Columns, collections: int) -> Extents:
    """Return what the rows of each collection span."""
    numbers_N = columns.collections_N.astype(np.int64)
    nowhere_N, undated_N = np.isnan(columns.boxes_N4[:, 0]), columns.times_N == NO_TIME
    boxes_C6 = np.tile([np.inf, -np.inf] * 3, (collections, 1))
    placed_N = numbers_N[~nowhere_N]
    for side, values_N in enumerate(_sides(columns.boxes_N4[~nowhere_N])):
        (np.maximum if side % 2 else np.minimum).at(boxes_C6[:, side], placed_N, values_N)
    times_C2 = np.tile([_NEVER, -_NEVER], (collections, 1))
    dated_N, times_N = numbers_N[~undated_N], columns.times_N[~undated_N]
    np.minimum.at(times_C2[:, 0], dated_N, times_N)
    np.maximum.at(times_C2[:, 1], dated_N, times_N)
    months_N = times_N.view("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    return Extents(
        np.bincount(numbers_N, minlength=collections),
        np.bincount(numbers_N[nowhere_N], minlength=collections),
        np.bincount(numbers_N[undated_N], minlength=collections),
        boxes_C6,
        times_C2,
        _counted(dated_N, months_N),
    )


def _counted(collections_N: Int64s, months_N: Int64s) -> Int64s:
    """Return each pair of a collection and a month that there is, and how often it is there, M3.

    A pair is one number: NumPy counts pairs 15 times slower, and lets no other thread run meanwhile.
    """
    least, months = (int(months_N.min()), int(np.ptp(months_N)) + 1) if months_N.size else (0, 1)
    keys_M, chips_M = np.unique(collections_N * months + (months_N - least), return_counts=True)
    return np.stack([keys_M // months, keys_M % months + least, chips_M], axis=1)


def _sides(boxes_N4: Floats) -> list[NDArray[np.float64]]:
    """Return south, north, and twice west and east: a box over the edge of a map spans its whole width."""
    west_N, south_N, east_N, north_N = boxes_N4.T
    crosses_N = west_N > east_N
    from_0_N, to_360_N = west_N % 360, east_N % 360
    to_360_N = np.where(to_360_N == 0, 360.0, to_360_N)
    divided_N = (from_0_N > to_360_N) | (east_N - west_N >= 360)
    return [
        south_N,
        north_N,
        np.where(crosses_N, -180.0, west_N),
        np.where(crosses_N, 180.0, east_N),
        np.where(divided_N, 0.0, from_0_N),
        np.where(divided_N, 360.0, to_360_N),
    ]


def box_of(sides_6: Floats) -> list[float] | None:
    """Return the narrower of a collection's boxes, west > east over the antimeridian; None: no place."""
    south, north, west, east, from_0, to_360 = sides_6.tolist()
    if south > north:
        return None
    if to_360 - from_0 < east - west:
        west, east = ((side + 180) % 360 - 180 for side in (from_0, to_360))
    return [west, south, east, north]
