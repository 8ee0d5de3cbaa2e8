"""Which rows of an index may be answers: a verdict on each block of rows, and a test of single rows.

Only rows whose codes are near enough to matter are tested one by one.

Shapes: N rows, M some of them, D rows of `SOME` blocks, B blocks, R rectangles, C collections, S = ceil(N /
64) words.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.jit import Int64s, Plain, UInt32s, Words, compiled, signed

ROWS = 512
"""Rows in a block."""
_WIDE = 0.2  # share of the blocks
NO_TIME = np.iinfo(np.int64).min
"""The time of a chip that has none; it lies in no interval."""

Floats = NDArray[np.float64]

NONE, SOME, ALL_ROWS = 0, 1, 2
"""Verdict on a block: no row of it passes the filter, some may (each row must be tested), or all do."""
PASS_ALL, BY_CRITERIA, BY_BITS = 0, 1, 2
"""Kinds of filters: every row passes; rows of `SOME` blocks are tested by criteria, or looked up in bits."""


class Columns(NamedTuple):
    """What is filtered by, for each row."""

    boxes_N4: Floats
    """West, south, east, north [degrees]; west > east over the antimeridian; NaN where the box is unknown."""
    times_N: Int64s
    """Acquisition [microseconds since 1970]; `NO_TIME` where it is unknown."""
    valid_N: NDArray[np.float32]
    """Valid fraction, 0..1."""
    collections_N: UInt32s
    """Number of the collection."""


class Criteria(NamedTuple):
    """Conditions on a row, which must meet all of them."""

    rectangles_R4: Floats
    """West, south, east, north [degrees], west <= east. A row's box must touch one of them; without
    rectangles it may lie anywhere."""
    first: int
    last: int
    """[microseconds since 1970], both included. `NO_TIME` as ``first``: any time, or none."""
    least_valid: float
    wanted_C: NDArray[np.bool_]
    """For each collection whether it is wanted; an empty array: all are."""


class RowFilter(NamedTuple):
    """Which rows pass."""

    kind: int
    """`PASS_ALL`, `BY_CRITERIA` or `BY_BITS`."""
    verdicts_B: NDArray[np.uint8]
    """`NONE`, `SOME` or `ALL_ROWS`; of `PASS_ALL` perhaps empty."""
    blocks_B: UInt32s
    """Blocks with at least one row that may pass, ascending; of `PASS_ALL` perhaps empty."""
    columns: Columns
    criteria: Criteria
    """For `BY_CRITERIA`."""
    bits_S: Words
    """For `BY_BITS`: bit i % 64 of word i // 64 says whether row i of a `SOME` block passes."""
    rows: int
    """How many rows the index has."""


ANYTHING = Criteria(np.empty((0, 4)), NO_TIME, np.iinfo(np.int64).max, 0.0, np.empty(0, bool))
NO_BITS = np.empty(0, np.uint64)
_NO_COLUMNS = Columns(
    np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.uint32)
)
EVERY_ROW = RowFilter(
    PASS_ALL, np.empty(0, np.uint8), np.empty(0, np.uint32), _NO_COLUMNS, ANYTHING, NO_BITS, 0
)


def filter_by_mask(mask_N: NDArray[np.bool_]) -> RowFilter:
    """Return a filter. A row passes it if the mask is true for the row."""
    padded = np.zeros(-(-mask_N.size // ROWS) * ROWS, bool)
    padded[: mask_N.size] = mask_N
    verdicts_B = np.where(padded.reshape(-1, ROWS).any(axis=1), SOME, NONE).astype(np.uint8)
    bits_S = np.packbits(padded, bitorder="little").view(np.uint64)
    blocks_B = np.flatnonzero(verdicts_B).astype(np.uint32)
    return RowFilter(BY_BITS, verdicts_B, blocks_B, _NO_COLUMNS, ANYTHING, bits_S, mask_N.size)


def every_row_in_blocks(rows: int) -> RowFilter:
    """Return `EVERY_ROW` with its blocks listed, for kernels that go over the blocks of a filter."""
    blocks = -(-rows // ROWS)
    return EVERY_ROW._replace(
        verdicts_B=np.full(blocks, ALL_ROWS, np.uint8), blocks_B=np.arange(blocks, dtype=np.uint32), rows=rows
    )


def is_wide(row_filter: RowFilter) -> bool:
    """Return True if at least a fifth of the blocks may pass: most rows of a full search pass then."""
    return row_filter.blocks_B.size >= _WIDE * row_filter.verdicts_B.size


@compiled
def rows_of(row_filter: RowFilter) -> Int64s:
    """Return the rows that pass a filter with blocks, ascending."""
    rows_M = np.empty(row_filter.blocks_B.size * ROWS, np.int64)
    verdicts_B = np.empty(ROWS, np.uint8)
    count = 0
    for block in row_filter.blocks_B:
        first = signed(block) * ROWS
        rows_B = np.arange(first, min(first + ROWS, row_filter.rows))
        if row_filter.verdicts_B[block] == ALL_ROWS:
            verdicts_B[:] = ALL_ROWS
        else:
            _judge_doubtful(row_filter, rows_B, verdicts_B)
        for index in range(rows_B.size):
            rows_M[count] = rows_B[index]
            count += verdicts_B[index] != NONE
    return rows_M[:count]


@compiled
def judge_rows(row_filter: RowFilter, rows_M: Int64s, verdicts_M: NDArray[np.uint8]) -> None:
    """Write whether each of some rows passes: `NONE` or `ALL_ROWS`. The filter must have verdicts.

    Called for many rows at a time: numba counts the references to the arrays of each call, which takes longer
    than to test a row.
    """
    verdicts_B = row_filter.verdicts_B
    rows_D, places_D = np.empty(rows_M.size, np.int64), np.empty(rows_M.size, np.int64)
    count = 0
    for place in range(rows_M.size):
        verdicts_M[place] = verdicts_B[rows_M[place] // ROWS]
        rows_D[count], places_D[count] = rows_M[place], place
        count += verdicts_M[place] == SOME
    if not count:
        return
    verdicts_D = np.empty(count, np.uint8)
    _judge_doubtful(row_filter, rows_D[:count], verdicts_D)
    for index in range(count):
        verdicts_M[places_D[index]] = verdicts_D[index]


@compiled
def _judge_doubtful(row_filter: RowFilter, rows_D: Int64s, verdicts_D: NDArray[np.uint8]) -> None:
    """Write whether each of some rows of `SOME` blocks passes."""
    if row_filter.kind == BY_CRITERIA:
        _judge_by_criteria(row_filter.columns, row_filter.criteria, rows_D, verdicts_D)
        return
    bits_S = row_filter.bits_S
    for index in range(rows_D.size):
        row = rows_D[index]
        passes = (bits_S[row >> 6] >> np.uint64(row & 63)) & np.uint64(1)
        verdicts_D[index] = ALL_ROWS if passes else NONE


@compiled
def _judge_by_criteria(
    columns: Plain, criteria: Plain, rows_D: Int64s, verdicts_D: NDArray[np.uint8]
) -> None:
    """Write which rows meet all criteria; a box that touches a rectangle counts as in it.

    One criterion after the other, in numbers: numba makes branches of truth values, which the processor can't
    predict here. Rows are unsigned: of a signed one numba tests whether it counts from the end.
    """
    boxes_N4, times_N, valid_N, collections_N = columns
    rectangles_R4, start, end, least_valid, wanted_C = criteria
    verdicts_D[:] = NONE if rectangles_R4.shape[0] else ALL_ROWS
    for number in range(rectangles_R4.shape[0]):
        left, bottom = rectangles_R4[number, 0], rectangles_R4[number, 1]
        right, top = rectangles_R4[number, 2], rectangles_R4[number, 3]
        for index in range(rows_D.size):
            row = np.uint64(rows_D[index])
            west, south, east, north = boxes_N4[row, 0], boxes_N4[row, 1], boxes_N4[row, 2], boxes_N4[row, 3]
            abreast = np.uint8(east >= left) + np.uint8(west <= right) + np.uint8(west > east) >= 2
            touches = np.uint8(abreast) & np.uint8(south <= top) & np.uint8(north >= bottom)
            verdicts_D[index] |= touches * np.uint8(ALL_ROWS)
    for index in range(rows_D.size if start != NO_TIME else 0):
        time = times_N[np.uint64(rows_D[index])]
        verdicts_D[index] *= np.uint8(time >= start) & np.uint8(time <= end)
    for index in range(rows_D.size if least_valid > 0 else 0):
        verdicts_D[index] *= np.uint8(valid_N[np.uint64(rows_D[index])] >= least_valid)
    for index in range(rows_D.size if wanted_C.size else 0):
        verdicts_D[index] *= np.uint8(wanted_C[collections_N[np.uint64(rows_D[index])]])
