"""Which rows a query is about: boxes, time, collections, valid fraction; before ranking, and exactly.

Rows lie in the table's order, near to near, so blocks of `ROWS` rows are small on the ground, and so are
regions of `BLOCKS` blocks: most are taken or left as a whole, after one look at what they span.

Shapes: N rows, B blocks, A regions, R rectangles, C collections, P parts (rows or blocks).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

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

BLOCKS = 64
"""Blocks in a region."""
_ALWAYS = np.iinfo(np.int64).max
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_BITS = np.empty(0, np.uint64)

Rectangles = list[tuple[float, float, float, float]]


class Spans(NamedTuple):
    """What each block spans, or each region."""

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
    west_N, south_N, east_N, north_N = columns.boxes_N4.T
    crosses_N = west_N > east_N
    corners = np.where(crosses_N, -180.0, west_N), south_N, np.where(crosses_N, 180.0, east_N), north_N
    values = columns.times_N, columns.valid_N, columns.collections_N
    return _joined(corners, values, values, np.isnan(west_N), ROWS)


def regions_of(spans: Spans) -> Spans:
    """Return what the regions span: runs of `BLOCKS` blocks."""
    ranges = spans.times_B2, spans.valid_B2, spans.collections_B2
    least, greatest = ([range_B2[:, end] for range_B2 in ranges] for end in (0, 1))
    return _joined(tuple(spans.boxes_B4.T), least, greatest, spans.unplaced_B, BLOCKS)


def _joined(
    corners: Sequence[Floats],
    least: Sequence[NDArray[Any]],
    greatest: Sequence[NDArray[Any]],
    unplaced_P: NDArray[np.bool_],
    size: int,
) -> Spans:
    """Return what runs of ``size`` parts span, given what each part does."""
    starts = np.arange(0, len(unplaced_P), size)
    if not starts.size:
        times, valid, collections = (np.empty((0, 2), values_P.dtype) for values_P in least)
        return Spans(np.empty((0, 4)), times, valid, collections, np.empty(0, bool))
    ends = (np.fmin, np.fmin, np.fmax, np.fmax)
    boxes_B4 = np.stack([end.reduceat(side_P, starts) for end, side_P in zip(ends, corners, strict=True)], 1)
    times_B2, valid_B2, collections_B2 = (
        np.stack([np.minimum.reduceat(low_P, starts), np.maximum.reduceat(high_P, starts)], axis=1)
        for low_P, high_P in zip(least, greatest, strict=True)
    )
    return Spans(boxes_B4, times_B2, valid_B2, collections_B2, np.logical_or.reduceat(unplaced_P, starts))


def select_rows(columns: Columns, spans: Spans, regions: Spans, wanted: Criteria) -> Selection:
    """Return the rows that fulfil the criteria."""
    verdicts_B, blocks_B = _judge(spans, regions, wanted)
    return Selection(verdicts_B, blocks_B, columns, wanted, _NO_BITS, len(columns.times_N))


@compiled
def _judge(spans: Spans, regions: Spans, wanted: Criteria) -> tuple[NDArray[np.uint8], UInt32s]:
    """Return the verdicts on all blocks, and those of which not none is wanted, whole ones first."""
    verdicts_A = np.empty(regions.unplaced_B.size, np.uint8)
    verdicts_B = np.zeros(spans.unplaced_B.size, np.uint8)
    blocks_B, some_B = np.empty(verdicts_B.size, np.uint32), np.empty(verdicts_B.size, np.uint32)
    whole, some = 0, 0
    _judge_parts(regions, wanted, 0, verdicts_A)
    for region in range(verdicts_A.size):
        if verdicts_A[region] == NONE:
            continue
        first, last = region * BLOCKS, min((region + 1) * BLOCKS, verdicts_B.size)
        if verdicts_A[region] == SOME:
            _judge_parts(spans, wanted, first, verdicts_B[first:last])
        else:
            verdicts_B[first:last] = ALL_ROWS
        for block in range(first, last):
            if verdicts_B[block] == ALL_ROWS:
                blocks_B[whole] = block
                whole += 1
            elif verdicts_B[block] == SOME:
                some_B[some] = block
                some += 1
    blocks_B[whole : whole + some] = some_B[:some]
    return verdicts_B, blocks_B[: whole + some]


@compiled
def _judge_parts(spans: Spans, wanted: Criteria, first: int, verdicts_P: NDArray[np.uint8]) -> None:
    """Write whether none, some or all rows of a block or a region are wanted, from number ``first`` on.

    Some, where rows must be asked.
    """
    boxes_B4, times_B2, valid_B2, collections_B2, unplaced_B = spans
    rectangles_R4, start, end, least_valid, wanted_C = wanted
    verdicts_P[:] = NONE if rectangles_R4.shape[0] else ALL_ROWS
    for number in range(rectangles_R4.shape[0]):
        left, bottom = rectangles_R4[number, 0], rectangles_R4[number, 1]
        right, top = rectangles_R4[number, 2], rectangles_R4[number, 3]
        for place in range(verdicts_P.size):
            part = first + place
            west, south = boxes_B4[part, 0], boxes_B4[part, 1]
            east, north = boxes_B4[part, 2], boxes_B4[part, 3]
            if west > right or east < left or south > top or north < bottom:
                continue
            inside = west >= left and east <= right and south >= bottom and north <= top
            verdicts_P[place] = max(verdicts_P[place], ALL_ROWS if inside and not unplaced_B[part] else SOME)
    for place in range(verdicts_P.size):
        part, verdict = first + place, verdicts_P[place]
        if start != NO_TIME:
            verdict = min(verdict, _judge_range(times_B2[part, 0], times_B2[part, 1], start, end))
        if least_valid > 0:
            verdict = min(verdict, _judge_range(valid_B2[part, 0], valid_B2[part, 1], least_valid, np.inf))
        if wanted_C.size:
            if collections_B2[part, 0] != collections_B2[part, 1]:
                verdict = min(verdict, SOME)
            elif not wanted_C[collections_B2[part, 0]]:
                verdict = NONE
        verdicts_P[place] = verdict


@compiled
def _judge_range(least: float, greatest: float, first: float, last: float) -> int:
    if greatest < first or least > last:
        return NONE
    return ALL_ROWS if least >= first and greatest <= last else SOME
