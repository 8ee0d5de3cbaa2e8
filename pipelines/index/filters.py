"""Filters by boxes, time, collections and valid fraction: exact, and applied before rows are ranked.

Rows that are near on the ground are near in the table, so blocks of `ROWS` rows are small on the ground, and
so are regions of `BLOCKS` blocks. Most regions and blocks pass or fail as a whole, as what they span shows.

Shapes: N rows, B blocks, A regions or runs of blocks, R rectangles, C collections, P parts (all blocks, then
all regions; in `_joined`, the rows or blocks that it joins).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.jit import Int64s, Plain, UInt32s, compiled
from pipelines.hamming.row_filter import (
    ALL_ROWS,
    BY_CRITERIA,
    NO_BITS,
    NO_TIME,
    NONE,
    ROWS,
    SOME,
    Columns,
    Criteria,
    Floats,
    RowFilter,
)

BLOCKS = 64
"""Blocks in a region."""
_ALWAYS = np.iinfo(np.int64).max
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Rectangles = list[tuple[float, float, float, float]]


class Spans(NamedTuple):
    """What each block spans, then what each region spans; few arrays, as each adds to a call's time."""

    boxes_4P: Floats
    """Least west and south, greatest east and north [degrees]; all longitudes where a box crosses the
    antimeridian."""
    times_2P: NDArray[np.int64]
    """Least and greatest [microseconds since 1970]."""
    valid_2P: NDArray[np.float32]
    """Least and greatest, 0..1."""
    collections_2P: UInt32s
    """Least and greatest number."""
    unplaced_P: NDArray[np.bool_]
    """Whether the box of a row is unknown."""


def criteria(
    rectangles: Rectangles | None = None,
    interval: tuple[datetime | None, datetime | None] | None = None,
    least_valid: float = 0.0,
    wanted_C: NDArray[np.bool_] | None = None,
) -> Criteria:
    """Return criteria; a rectangle is west, south, east, north, with west > east over the antimeridian.

    ``interval``: times with a zone; None as either end: open. ``wanted_C``: for each collection whether it is
    wanted; None: all are. Raises ValueError for a rectangle with south > north.
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
    """Return what the blocks and the regions span; a region is `BLOCKS` blocks."""
    west_N, south_N, east_N, north_N = columns.boxes_N4.T
    crosses_N = west_N > east_N
    corners = np.where(crosses_N, -180.0, west_N), south_N, np.where(crosses_N, 180.0, east_N), north_N
    values = columns.times_N, columns.valid_N, columns.collections_N
    blocks = _joined(corners, values, values, np.isnan(west_N), ROWS)
    least, greatest = zip(blocks.times_2P, blocks.valid_2P, blocks.collections_2P, strict=True)
    regions = _joined(tuple(blocks.boxes_4P), least, greatest, blocks.unplaced_P, BLOCKS)
    pairs: Iterator[tuple[Any, Any]] = zip(blocks, regions, strict=True)
    return Spans(*(np.concatenate(pair, axis=-1) for pair in pairs))


def _joined(
    corners: Sequence[Floats],
    least: Sequence[NDArray[Any]],
    greatest: Sequence[NDArray[Any]],
    unplaced_P: NDArray[np.bool_],
    size: int,
) -> Spans:
    """Return what each run of ``size`` parts spans, given what each part spans."""
    starts = np.arange(0, len(unplaced_P), size)
    if not starts.size:
        times, valid, collections = (np.empty((2, 0), values_P.dtype) for values_P in least)
        return Spans(np.empty((4, 0)), times, valid, collections, np.empty(0, bool))
    ends = (np.fmin, np.fmin, np.fmax, np.fmax)
    boxes_4P = np.stack([end.reduceat(side_P, starts) for end, side_P in zip(ends, corners, strict=True)])
    times_2P, valid_2P, collections_2P = (
        np.stack([np.minimum.reduceat(low_P, starts), np.maximum.reduceat(high_P, starts)])
        for low_P, high_P in zip(least, greatest, strict=True)
    )
    return Spans(boxes_4P, times_2P, valid_2P, collections_2P, np.logical_or.reduceat(unplaced_P, starts))


def select_rows(columns: Columns, spans: Spans, wanted: Criteria) -> RowFilter:
    """Return a filter. A row passes it if it meets the criteria."""
    rows = columns.times_N.size
    # plain tuples: numba takes long to unwrap named ones
    verdicts_B, blocks_B = _judge(tuple(spans), tuple(wanted), -(-rows // ROWS))
    return RowFilter(BY_CRITERIA, verdicts_B, blocks_B, columns, wanted, NO_BITS, rows)


@compiled
def _judge(spans: Plain, wanted: Plain, blocks: int) -> tuple[NDArray[np.uint8], UInt32s]:
    """Return the verdicts on all blocks, and the blocks with at least one row that may pass."""
    verdicts_P = np.zeros(spans[-1].size, np.uint8)
    verdicts_B, verdicts_A = verdicts_P[:blocks], verdicts_P[blocks:]
    _judge_parts(spans, wanted, np.array([[blocks, verdicts_P.size]]), verdicts_P)
    _judge_parts(spans, wanted, _runs_in_doubt(verdicts_A, blocks), verdicts_P)
    blocks_B, count = np.empty(blocks, np.uint32), np.uint64(0)
    for region in range(verdicts_A.size):
        first, last = np.uint64(region * BLOCKS), np.uint64(min((region + 1) * BLOCKS, blocks))
        if verdicts_A[region] == ALL_ROWS:
            for block in range(first, last):
                verdicts_B[block] = ALL_ROWS
                blocks_B[count + block - first] = block
            count += last - first
        elif verdicts_A[region] == SOME:
            for block in range(first, last):
                blocks_B[count] = block
                count += np.uint64(verdicts_B[block] != NONE)
    return verdicts_B, blocks_B[:count]


@compiled
def _runs_in_doubt(verdicts_A: NDArray[np.uint8], blocks: int) -> Int64s:
    """Return (first block, end) of each region that doesn't pass or fail as a whole."""
    runs_A2, count = np.empty((verdicts_A.size, 2), np.int64), 0
    for region in range(verdicts_A.size):
        if verdicts_A[region] == SOME:
            runs_A2[count, 0], runs_A2[count, 1] = region * BLOCKS, min((region + 1) * BLOCKS, blocks)
            count += 1
    return runs_A2[:count]


@compiled
def _judge_parts(spans: Plain, wanted: Plain, runs_A2: Int64s, verdicts_P: NDArray[np.uint8]) -> None:
    """Write a verdict on each block, or region, of some runs: no row passes, all do, or some may.

    One criterion after the other for all runs: numba counts the references to the arrays of each call.
    """
    boxes_4P, times_2P, valid_2P, collections_2P, unplaced_P = spans
    rectangles_R4, start, end, least_valid, wanted_C = wanted
    for run in range(runs_A2.shape[0]):
        verdicts_P[runs_A2[run, 0] : runs_A2[run, 1]] = NONE if rectangles_R4.shape[0] else ALL_ROWS
    for number in range(rectangles_R4.shape[0]):
        _judge_boxes(boxes_4P, unplaced_P, rectangles_R4[number], runs_A2, verdicts_P)
    if start != NO_TIME:
        _judge_range(times_2P, start, end, runs_A2, verdicts_P)
    if least_valid > 0:
        _judge_range(valid_2P, least_valid, np.inf, runs_A2, verdicts_P)
    for run in range(runs_A2.shape[0] if wanted_C.size else 0):
        for part in range(np.uint64(runs_A2[run, 0]), np.uint64(runs_A2[run, 1])):
            collection = collections_2P[0, part]
            alike = ALL_ROWS if wanted_C[collection] else NONE
            verdict = SOME if collections_2P[1, part] != collection else alike
            verdicts_P[part] = min(verdicts_P[part], verdict)


@compiled
def _judge_boxes(
    boxes_4P: Floats,
    unplaced_P: NDArray[np.bool_],
    rectangle_4: Floats,
    runs_A2: Int64s,
    verdicts_P: NDArray[np.uint8],
) -> None:
    """Raise the verdicts on the boxes that touch a rectangle, or lie in it."""
    west_P, south_P, east_P, north_P = boxes_4P[0], boxes_4P[1], boxes_4P[2], boxes_4P[3]
    left, bottom, right, top = rectangle_4[0], rectangle_4[1], rectangle_4[2], rectangle_4[3]
    for run in range(runs_A2.shape[0]):
        for part in range(np.uint64(runs_A2[run, 0]), np.uint64(runs_A2[run, 1])):
            west, south, east, north = west_P[part], south_P[part], east_P[part], north_P[part]
            touches = (west <= right) & (east >= left) & (south <= top) & (north >= bottom)
            inside = (west >= left) & (east <= right) & (south >= bottom) & (north <= top)
            # numbers, as numba branches on truth values: so LLVM can judge several boxes at once
            verdict = np.uint8(touches) + np.uint8(touches & inside & (not unplaced_P[part]))
            verdicts_P[part] = max(verdicts_P[part], verdict)


@compiled
def _judge_range(
    ranges_2P: NDArray[Any], first: float, last: float, runs_A2: Int64s, verdicts_P: NDArray[np.uint8]
) -> None:
    """Lower the verdicts on the parts that do not lie between ``first`` and ``last`` as a whole."""
    least_P, greatest_P = ranges_2P[0], ranges_2P[1]
    for run in range(runs_A2.shape[0]):
        for part in range(np.uint64(runs_A2[run, 0]), np.uint64(runs_A2[run, 1])):
            least, greatest = least_P[part], greatest_P[part]
            verdict = np.uint8((greatest >= first) & (least <= last))
            verdict += np.uint8((least >= first) & (greatest <= last))
            verdicts_P[part] = min(verdicts_P[part], verdict)
