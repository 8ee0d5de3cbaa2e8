"""Which rows a query is about: boxes, time, collections, valid fraction; before ranking, and exactly.

Rows lie in the table's order, near to near, so blocks of `ROWS` rows are small on the ground: most are
taken or left as a whole, after one look at what they span.

Shapes: N rows, B blocks, R rectangles, C collections.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.index.kernels import compiled
from pipelines.index.selection import (
    ALL_ROWS,
    NO_TIME,
    NONE,
    ROWS,
    SOME,
    Columns,
    Criteria,
    Floats,
    Selection,
    UInt32s,
)

_ALWAYS = np.iinfo(np.int64).max
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_BITS = np.empty(0, np.uint64)

Rectangles = list[tuple[float, float, float, float]]


class Spans(NamedTuple):
    """What each block spans."""

    boxes_B4: Floats
    """Least west and south, greatest east and north; all longitudes where a box crosses the antimeridian."""
    times_B2: NDArray[np.int64]
    valid_B2: NDArray[np.float32]
    collections_B2: UInt32s
    unplaced_B: NDArray[np.bool_]
    """Whether a box is missing."""


def criteria(
    rectangles: Rectangles | None = None,
    interval: tuple[datetime | None, datetime | None] | None = None,
    least_valid: float = 0.0,
    wanted_C: NDArray[np.bool_] | None = None,
) -> Criteria:
    """Return criteria; a rectangle is west, south, east, north, with west > east over the antimeridian.

    Either end of the interval may be open; its times know their zones. Raises ValueError for a rectangle
    with south > north.
    """
    split = []
    for west, south, east, north in rectangles or []:
        if south > north:
            raise ValueError(f"south ({south}) must not lie north of north ({north})")
        sides = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
        split += [(side[0], south, side[1], north) for side in sides]
    first, last = interval or (None, None)
    return Criteria(
        np.array(split, np.float64).reshape(-1, 4),
        NO_TIME if interval is None else NO_TIME + 1 if first is None else _microseconds(first),
        _ALWAYS if last is None else _microseconds(last),
        float(np.float32(least_valid)),  # as exact as the column
        np.empty(0, bool) if wanted_C is None else wanted_C,
    )


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def spans_of(columns: Columns) -> Spans:
    """Return what the blocks span."""
    starts_B = np.arange(0, len(columns.times_N), ROWS)
    if not starts_B.size:
        empty = np.empty((0, 2))
        return Spans(
            np.empty((0, 4)),
            empty.astype(np.int64),
            empty.astype(np.float32),
            empty.astype(np.uint32),
            np.empty(0, bool),
        )
    west_N, south_N, east_N, north_N = columns.boxes_N4.T
    crosses_N = west_N > east_N
    boxes_B4 = np.stack(
        [
            np.fmin.reduceat(np.where(crosses_N, -180.0, west_N), starts_B),
            np.fmin.reduceat(south_N, starts_B),
            np.fmax.reduceat(np.where(crosses_N, 180.0, east_N), starts_B),
            np.fmax.reduceat(north_N, starts_B),
        ],
        axis=1,
    )
    times_B2, valid_B2, collections_B2 = (
        np.stack([np.minimum.reduceat(values_N, starts_B), np.maximum.reduceat(values_N, starts_B)], axis=1)
        for values_N in (columns.times_N, columns.valid_N, columns.collections_N)
    )
    unplaced_B = np.logical_or.reduceat(np.isnan(west_N), starts_B)
    return Spans(boxes_B4, times_B2, valid_B2, collections_B2, unplaced_B)


def select_rows(columns: Columns, spans: Spans, wanted: Criteria) -> Selection:
    """Return the rows that fulfil the criteria."""
    verdicts_B = np.empty(len(spans.unplaced_B), np.uint8)
    _judge_blocks(spans, wanted, verdicts_B)
    blocks_B = np.concatenate([np.flatnonzero(verdicts_B == verdict) for verdict in (ALL_ROWS, SOME)])
    return Selection(verdicts_B, blocks_B.astype(np.uint32), columns, wanted, _NO_BITS, len(columns.times_N))


@compiled
def _judge_blocks(spans: Spans, wanted: Criteria, verdicts_B: NDArray[np.uint8]) -> None:
    """Write whether none, some or all of each block's rows are wanted; some, where rows must be asked."""
    boxes_B4, times_B2, valid_B2, collections_B2, unplaced_B = spans
    rectangles_R4, first, last, least_valid, wanted_C = wanted
    for block in range(verdicts_B.size):
        verdict = ALL_ROWS
        if rectangles_R4.shape[0]:
            verdict = _judge_place(boxes_B4, block, unplaced_B[block], rectangles_R4)
        if first != NO_TIME:
            verdict = min(verdict, _judge_range(times_B2[block, 0], times_B2[block, 1], first, last))
        verdict = min(verdict, _judge_range(valid_B2[block, 0], valid_B2[block, 1], least_valid, np.inf))
        if wanted_C.size:
            one_collection = collections_B2[block, 0] == collections_B2[block, 1]
            if not one_collection:
                verdict = min(verdict, SOME)
            elif not wanted_C[collections_B2[block, 0]]:
                verdict = NONE
        verdicts_B[block] = verdict


@compiled
def _judge_range(least: float, greatest: float, first: float, last: float) -> int:
    if greatest < first or least > last:
        return NONE
    return ALL_ROWS if least >= first and greatest <= last else SOME


@compiled
def _judge_place(boxes_B4: Floats, block: int, unplaced: bool, rectangles_R4: Floats) -> int:
    west, south, east, north = boxes_B4[block, 0], boxes_B4[block, 1], boxes_B4[block, 2], boxes_B4[block, 3]
    verdict = NONE
    for number in range(rectangles_R4.shape[0]):
        left, bottom = rectangles_R4[number, 0], rectangles_R4[number, 1]
        right, top = rectangles_R4[number, 2], rectangles_R4[number, 3]
        if west > right or east < left or south > top or north < bottom:
            continue
        if west >= left and east <= right and south >= bottom and north <= top and not unplaced:
            return ALL_ROWS
        verdict = SOME
    return verdict
