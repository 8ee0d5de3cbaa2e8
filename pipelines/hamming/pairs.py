"""Pairs of rows of one place and two dates, by how many bits differ: exact, and the most different first.

Rows a and b are a pair if they are of one collection, a is earlier, and the western and southern edges of
their boxes differ by less than a quarter of a's width and height. Rows are sorted into square cells at least
as wide as that quarter, so that b is in a's cell or in one beside it.

Shapes: N rows, W words a code, M rows that may be in a pair, R rows near those of one level, D distances, I
kept pairs, K pairs of the answer, F pairs that are weighed together.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.jit import Int64s, Plain, UInt32s, Words, compiled, signed
from pipelines.hamming.row_filter import NO_TIME, Floats
from pipelines.hamming.simd import popcount

COARSEST, FINEST = 2, 26
"""Levels: at level z a cell is 360 / 2^z degrees wide. A quarter of a box is at most 90 degrees."""
COLUMN_BITS = 32
"""Of a cell's key: (row << 32) + column."""
_TOGETHER = 4096  # pairs that are weighed in one call


class Places(NamedTuple):
    """The rows that pairs are looked for among."""

    codes_WN: Words
    boxes_N4: Floats
    """West, south, east, north [degrees]; west > east over the antimeridian; NaN without a place."""
    times_N: Int64s
    """[microseconds since 1970]; `NO_TIME` where it is unknown: no such row is in a pair."""
    collections_N: UInt32s
    ranks_N: UInt32s
    """Order of rows, in which pairs at one distance are; empty: the order of rows."""
    owners_N: UInt32s
    """Rows of the same owner are no pair; empty: any rows may be."""


@dataclass(frozen=True)
class Pairs:
    """The most different pairs, then in the order of the ranks of the earlier, then of the later row."""

    before_K: Int64s
    """Rows."""
    after_K: Int64s
    distances_K: Int64s
    counts_D: Int64s
    """All pairs at each distance from 0 on."""


class PairScale(NamedTuple):
    """How the distance of a pair is counted."""

    weights_W: Int64s
    """What a bit of each word counts."""
    greatest: int
    """The greatest distance there may be."""


def find_pairs(
    places: Places,
    rows_M: Int64s,
    intervals: tuple[tuple[int, int], tuple[int, int]],
    scale: PairScale,
    k: int,
    least: int = 0,
) -> Pairs:
    """Return the first ``k`` pairs among some rows that are at least ``least`` apart, and count all pairs.

    ``intervals``: first and last time of the earlier, and of the later row [microseconds], both included.
    """
    places = Places(*(_read_only(array) for array in places))
    candidates = _candidates(places, rows_M, intervals)
    state = np.zeros(scale.greatest + 1, np.int64), np.empty((2 * k, 5), np.int64), np.zeros(1, np.int64)
    for level in np.unique(candidates.levels_M[candidates.asks_M]).tolist():
        near = _near(places, candidates, level)
        _join(tuple(near), 2**level, tuple(places), scale.weights_W, state, (k, least))
    counts_D, items_I5, (count,) = state
    items_K5 = items_I5[: _first_items(items_I5, int(count), k)]
    return Pairs(items_K5[:, 3].copy(), items_K5[:, 4].copy(), items_K5[:, 0].copy(), counts_D)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that can't be written to: numba compiles once, whether arrays are mapped files or not."""
    view = array.view()
    view.flags.writeable = False
    return view


class _Candidates(NamedTuple):
    """Rows with a place and a time."""

    rows_M: Int64s
    corners_M4: Floats
    """West, south, and a quarter of width and height [degrees]."""
    times_M: Int64s
    asks_M: NDArray[np.bool_]
    """Whether the row may be the earlier one of a pair."""
    answers_M: NDArray[np.bool_]
    """Whether it may be the later one."""
    levels_M: NDArray[np.int8]
    """Of the cells in which the other rows are looked for: as fine as the row's size allows."""


def _candidates(
    places: Places, rows_M: Int64s, intervals: tuple[tuple[int, int], tuple[int, int]]
) -> _Candidates:
    times_M, boxes_M4 = places.times_N[rows_M], places.boxes_N4[rows_M]
    known_M = (times_M != NO_TIME) & ~np.isnan(boxes_M4[:, 0])
    if not known_M.all():
        rows_M, times_M, boxes_M4 = rows_M[known_M], times_M[known_M], boxes_M4[known_M]
    width_M = boxes_M4[:, 2] - boxes_M4[:, 0]
    width_M[width_M < 0] += 360
    boxes_M4[:, 2], boxes_M4[:, 3] = width_M / 4, (boxes_M4[:, 3] - boxes_M4[:, 1]) / 4
    reach_M = np.maximum(boxes_M4[:, 2], boxes_M4[:, 3])
    with np.errstate(divide="ignore"):
        _, exponents_M = np.frexp(360 / reach_M)  # 360 / reach is from 2^(exponent - 1) up
    (first, last), (first_after, last_after) = intervals
    return _Candidates(
        rows_M,
        boxes_M4,
        times_M,
        (times_M >= first) & (times_M <= last) & (reach_M > 0),
        (times_M >= first_after) & (times_M <= last_after),
        np.clip(exponents_M - 1, COARSEST, FINEST).astype(np.int8),
    )


def _near(places: Places, candidates: _Candidates, level: int) -> "_Near":
    """Return the rows that ask at a level, and those that may answer them; ordered by cell."""
    rows_M, corners_M4, times_M, asks_M, answers_M, levels_M = candidates
    asking_M, south_M, margin = asks_M & (levels_M == level), corners_M4[:, 1], 360 / 2**level
    south, north = south_M[asking_M].min() - margin, south_M[asking_M].max() + margin
    chosen_R = np.flatnonzero((south_M >= south) & (south_M <= north) & (asking_M | answers_M))
    # two rows up, so that no key of a cell beside one is below 0
    keys_R = (cells_at(corners_M4[chosen_R], level) + (2 << COLUMN_BITS)).astype(np.uint64)
    order_R = np.argsort(keys_R, kind="stable")  # chips of a scene come in runs, which it keeps
    chosen_R = chosen_R[order_R]
    chosen_rows_R = rows_M[chosen_R]
    return _Near(
        keys_R[order_R],
        asking_M[chosen_R].astype(np.uint8) + np.uint8(2) * answers_M[chosen_R].astype(np.uint8),
        corners_M4[chosen_R],
        times_M[chosen_R],
        places.collections_N[chosen_rows_R],
        chosen_rows_R,
        # in the order of cells, so that the rows that are compared lie together in memory
        np.ascontiguousarray(places.codes_WN[:, chosen_rows_R].T),
    )


def cells_at(corners_R2: Floats, level: int) -> Int64s:
    """Return the key of the cell of each south-western corner [degrees]."""
    side = 2**level
    column_R = np.floor((corners_R2[:, 0] + 180) * (side / 360)).astype(np.int64) % side
    row_R = np.floor((corners_R2[:, 1] + 90) * (side / 360)).astype(np.int64)
    return np.asarray((row_R << COLUMN_BITS) + column_R)


class _Near(NamedTuple):
    """Rows in the order of their cells: what tells whether two of them are a pair."""

    keys_R: Words
    roles_R: NDArray[np.uint8]
    """1: the row may be the earlier one of a pair, 2: the later one, 3: both."""
    corners_R4: Floats
    """West, south, and a quarter of width and height [degrees]."""
    times_R: Int64s
    collections_R: UInt32s
    rows_R: Int64s
    codes_RW: Words


@compiled
def _join(
    near: Plain, side: int, places: Plain, weights_W: Int64s, state: Plain, limits: tuple[int, int]
) -> None:
    """Find the pairs of each row that asks with those in the nine cells around it, and weigh them.

    ``near``: `_Near`. ``side``: cells around the Earth. One loop without calls for each row: numba counts the
    references to the arrays of a call, which takes longer than to compare two rows.
    """
    keys_R, roles_R, corners_R4, times_R, collections_R, rows_R, codes_RW = near
    starts, found_F2, found = np.zeros(3, np.int64), np.empty((_TOGETHER, 2), np.int64), 0
    one, width = np.uint64(1), np.uint64(side)
    for at in range(keys_R.size):
        if not roles_R[at] & 1:
            continue
        west, south = corners_R4[at, 0], corners_R4[at, 1]
        reach_x, reach_y = corners_R4[at, 2], corners_R4[at, 3]
        time, collection = times_R[at], collections_R[at]
        column = keys_R[at] & np.uint64(0xFFFFFFFF)
        at_edge = column == 0 or column == width - one
        for step in range(6 if at_edge else 3):
            middle = (
                keys_R[at] + (np.uint64(step % 3) << np.uint64(COLUMN_BITS)) - (one << np.uint64(COLUMN_BITS))
            )
            if step < 3:
                # rows that ask come by ascending cells, so these starts only move on
                while starts[step] < keys_R.size and keys_R[starts[step]] < middle - one:
                    starts[step] += 1
                place, last = starts[step], middle + one
            else:  # the cell on the other side of the antimeridian
                last = middle + width - one if column == 0 else middle + one - width
                place = np.searchsorted(keys_R, last)
            while place < keys_R.size and keys_R[place] <= last:
                apart = abs(corners_R4[place, 0] - west)
                if (
                    min(apart, 360.0 - apart) < reach_x
                    and abs(corners_R4[place, 1] - south) < reach_y
                    and times_R[place] > time
                    and collections_R[place] == collection
                    and roles_R[place] & 2
                ):
                    found_F2[found, 0], found_F2[found, 1] = at, place
                    found += 1
                    if found == _TOGETHER:
                        _weigh(found_F2, (rows_R, codes_RW), places, weights_W, state, limits)
                        found = 0
                place += 1
    _weigh(found_F2[:found], (rows_R, codes_RW), places, weights_W, state, limits)


@compiled
def _weigh(
    found_F2: Int64s, near: Plain, places: Plain, weights_W: Int64s, state: Plain, limits: tuple[int, int]
) -> None:
    """Count some pairs by their distance, and keep those that fewer than k others come before.

    ``found_F2``: their places among the rows ``near``. ``limits``: k, and the least distance of a pair that
    is kept.
    """
    rows_R, codes_RW = near
    _, _, _, _, ranks_N, owners_N = places
    counts_D, items_I5, count_1 = state
    k, least = limits
    count = count_1[0]
    for place in range(found_F2.shape[0]):
        at, beside = found_F2[place, 0], found_F2[place, 1]
        row, other = rows_R[at], rows_R[beside]
        if owners_N.size and owners_N[row] == owners_N[other]:
            continue
        distance = signed(0)
        for word in range(codes_RW.shape[1]):
            distance += weights_W[word] * popcount(codes_RW[at, word] ^ codes_RW[beside, word])
        counts_D[distance] += 1
        if distance < least or (count >= k and distance < items_I5[k - 1, 0]):
            continue
        earlier = signed(ranks_N[row]) if ranks_N.size else row
        later = signed(ranks_N[other]) if ranks_N.size else other
        if count >= k and distance == items_I5[k - 1, 0]:  # the first k are in order since the last sorting
            last, last_later = items_I5[k - 1, 1], items_I5[k - 1, 2]
            is_behind = earlier > last or (earlier == last and later > last_later)
            if is_behind:
                continue
        items_I5[count, 0], items_I5[count, 1], items_I5[count, 2] = distance, earlier, later
        items_I5[count, 3], items_I5[count, 4] = row, other
        count += 1
        if count == items_I5.shape[0] or count == k:
            count = _first_items(items_I5, count, k)
    count_1[0] = count


@compiled
def _first_items(items_I5: Int64s, count: int, k: int) -> int:
    """Bring the first k of some pairs to the front, in order; return how many there are."""
    ranks_I = (items_I5[:count, 1].astype(np.uint64) << np.uint64(32)) | items_I5[:count, 2].astype(np.uint64)
    order_I = np.argsort(ranks_I, kind="mergesort")
    order_I = order_I[np.argsort(-items_I5[:count, 0][order_I], kind="mergesort")]
    first = min(k, count)
    items_I5[:first] = items_I5[order_I[:first]]
    return first
