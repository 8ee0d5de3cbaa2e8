"""Which rows a query is about: boxes, time, collections, valid fraction; before ranking, and exactly.

Rows lie in the table's order, near to near, so blocks of `ROWS` rows are small on the ground: most are
taken or left as a whole, after one look at what they span.

Shapes: N rows, B blocks, R rectangles, C collections, S = ceil(N / 64) words.
"""

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.index.groups import UInt32s
from pipelines.index.kernels import Words, compiled
from pipelines.index.selection import ROWS, Selection

NO_TIME = np.iinfo(np.int64).min
"""The time of a chip without one; no interval holds it."""
_ALWAYS = np.iinfo(np.int64).max
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NONE, _SOME, _ALL = 0, 1, 2
_EVERY = np.uint64(2**64 - 1)

Floats = NDArray[np.float64]
Rectangles = list[tuple[float, float, float, float]]


class Columns(NamedTuple):
    """What is filtered by, for each row."""

    boxes_N4: Floats
    """West, south, east, north [degrees]; west > east over the antimeridian; NaN where nobody knows."""
    times_N: NDArray[np.int64]
    """Acquisition [microseconds since 1970]; `NO_TIME` where nobody knows."""
    valid_N: NDArray[np.float32]
    """Valid fraction, 0..1."""
    collections_N: UInt32s
    """Number of the collection."""


class Spans(NamedTuple):
    """What each block spans."""

    boxes_B4: Floats
    """Least west and south, greatest east and north; all longitudes where a box crosses the antimeridian."""
    times_B2: NDArray[np.int64]
    valid_B2: NDArray[np.float32]
    collections_B2: UInt32s
    unplaced_B: NDArray[np.bool_]
    """Whether a box is missing."""


class Criteria(NamedTuple):
    """What a row must fulfil, all of it."""

    rectangles_R4: Floats
    """West <= east; a row's box must touch one of them. None: it may lie anywhere."""
    first: int
    last: int
    """[microseconds since 1970], both included; `NO_TIME` as ``first``: no interval."""
    least_valid: float
    wanted_C: NDArray[np.bool_]
    """For each collection. Empty: all."""


def criteria(
    rectangles: Rectangles | None = None,
    interval: tuple[datetime | None, datetime | None] | None = None,
    least_valid: float = 0.0,
    wanted_C: NDArray[np.bool_] | None = None,
) -> Criteria:
    """Return criteria; a rectangle is west, south, east, north, with west > east over the antimeridian.

    Either end of the interval may be open. Raises ValueError for a rectangle with south > north.
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
    return int(
        np.datetime64(time.replace(tzinfo=None) - (time.utcoffset() or time - time), "us").astype(np.int64)
    )


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
    rows = len(columns.times_N)
    bits_S = np.zeros(-(-rows // 64), np.uint64)
    blocks_B = np.empty(len(spans.unplaced_B), np.uint32)
    blocks, count = _select(columns, spans, wanted, bits_S, blocks_B)
    return Selection(bits_S, blocks_B[:blocks], count)


@compiled
def _select(
    columns: Columns, spans: Spans, wanted: Criteria, bits_S: Words, blocks_B: UInt32s
) -> tuple[int, int]:
    rows, blocks, total = columns.times_N.size, 0, 0
    for block in range(spans.unplaced_B.size):
        verdict = _judge_block(spans, wanted, block)
        if verdict == _NONE:
            continue
        first, last = block * ROWS, min((block + 1) * ROWS, rows)
        count = last - first if verdict == _ALL else 0
        if verdict == _ALL:
            for word in range(first >> 6, last >> 6):
                bits_S[word] = _EVERY
            if last & 63:
                bits_S[last >> 6] = (np.uint64(1) << np.uint64(last & 63)) - np.uint64(1)
        else:
            for row in range(first, last):
                if _is_wanted(columns, wanted, row):
                    bits_S[row >> 6] |= np.uint64(1) << np.uint64(row & 63)
                    count += 1
        if count:
            blocks_B[blocks] = block
            blocks += 1
            total += count
    return blocks, total


@compiled
def _judge_block(spans: Spans, wanted: Criteria, block: int) -> int:
    """Return whether none, some or all of a block's rows are wanted; "some": look closer."""
    verdict = _judge_place(spans, wanted, block)
    first, last = spans.times_B2[block, 0], spans.times_B2[block, 1]
    if wanted.first != NO_TIME:
        if last < wanted.first or first > wanted.last:
            return _NONE
        if first < wanted.first or last > wanted.last:
            verdict = min(verdict, _SOME)
    if spans.valid_B2[block, 1] < wanted.least_valid:
        return _NONE
    if spans.valid_B2[block, 0] < wanted.least_valid:
        verdict = min(verdict, _SOME)
    if wanted.wanted_C.size:
        first_collection, last_collection = spans.collections_B2[block, 0], spans.collections_B2[block, 1]
        if first_collection != last_collection:
            return min(verdict, _SOME)
        if not wanted.wanted_C[first_collection]:
            return _NONE
    return verdict


@compiled
def _judge_place(spans: Spans, wanted: Criteria, block: int) -> int:
    if not wanted.rectangles_R4.shape[0]:
        return _ALL
    west, south, east, north = spans.boxes_B4[block]
    verdict = _NONE
    for left, bottom, right, top in wanted.rectangles_R4:
        if west > right or east < left or south > top or north < bottom:
            continue
        inside = west >= left and east <= right and south >= bottom and north <= top
        if inside and not spans.unplaced_B[block]:
            return _ALL
        verdict = _SOME
    return verdict


@compiled
def _is_wanted(columns: Columns, wanted: Criteria, row: int) -> bool:
    time = columns.times_N[row]
    if wanted.first != NO_TIME and not wanted.first <= time <= wanted.last:
        return False
    if columns.valid_N[row] < wanted.least_valid:
        return False
    if wanted.wanted_C.size and not wanted.wanted_C[columns.collections_N[row]]:
        return False
    if not wanted.rectangles_R4.shape[0]:
        return True
    west, south, east, north = columns.boxes_N4[row]
    for left, bottom, right, top in wanted.rectangles_R4:
        after, before = east >= left, west <= right
        abreast = (after or before) if west > east else (after and before)
        if abreast and south <= top and north >= bottom:
            return True
    return False
