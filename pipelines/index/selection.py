"""The rows that a filter leaves, told block by block, and row by row only of what is near enough to matter.

Shapes: N rows, B blocks, R rectangles, C collections, S = ceil(N / 64) words.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.index.kernels import Words, compiled, signed

ROWS = 1024
"""Rows in a block."""
NO_TIME = np.iinfo(np.int64).min
"""The time of a chip without one; no interval holds it."""
NONE, SOME, ALL_ROWS = 0, 1, 2
"""What of a block is selected; of some blocks the rows must be asked one by one."""

UInt32s = NDArray[np.uint32]
Floats = NDArray[np.float64]


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


class Selection(NamedTuple):
    """Some rows of an index."""

    verdicts_B: NDArray[np.uint8]
    """`NONE`, `SOME` or `ALL_ROWS`. Empty: every row is selected."""
    blocks_B: UInt32s
    """The blocks of which not none are; whole ones first, as what they hold needs no asking."""
    columns: Columns
    wanted: Criteria
    """What tells of the rows of `SOME` blocks, unless there are bits."""
    bits_S: Words
    """Bit i % 64 of word i // 64 says whether row i of a `SOME` block is selected. Empty: the criteria do."""
    rows: int
    """Of the index."""


ANYTHING = Criteria(np.empty((0, 4)), NO_TIME, np.iinfo(np.int64).max, 0.0, np.empty(0, bool))
_NO_COLUMNS = Columns(
    np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.uint32)
)
_NO_BITS = np.empty(0, np.uint64)
EVERY_ROW = Selection(np.empty(0, np.uint8), np.empty(0, np.uint32), _NO_COLUMNS, ANYTHING, _NO_BITS, 0)


def select(mask_N: NDArray[np.bool_]) -> Selection:
    """Return the rows that a mask is true for."""
    padded = np.zeros(-(-mask_N.size // ROWS) * ROWS, bool)
    padded[: mask_N.size] = mask_N
    verdicts_B = np.where(padded.reshape(-1, ROWS).any(axis=1), SOME, NONE).astype(np.uint8)
    bits_S = np.packbits(padded, bitorder="little").view(np.uint64)
    blocks_B = np.flatnonzero(verdicts_B).astype(np.uint32)
    return Selection(verdicts_B, blocks_B, _NO_COLUMNS, ANYTHING, bits_S, mask_N.size)


@compiled
def rows_of(selection: Selection) -> NDArray[np.int64]:
    """Return the rows themselves, ascending."""
    rows_M = np.empty(selection.blocks_B.size * ROWS, np.int64)
    verdicts_B = np.empty(ROWS, np.uint8)
    count = 0
    for block in np.sort(selection.blocks_B):
        first = signed(block) * ROWS
        rows_B = np.arange(first, min(first + ROWS, selection.rows))
        ask_rows(selection, rows_B, verdicts_B)
        for index in range(rows_B.size):
            if verdicts_B[index]:
                rows_M[count] = rows_B[index]
                count += 1
    return rows_M[:count]


@compiled
def ask_rows(selection: Selection, rows_M: NDArray[np.int64], verdicts_M: NDArray[np.uint8]) -> None:
    """Write whether each of some rows is selected: `NONE` or `ALL_ROWS`.

    Many at a time: each call counts the references to its arrays, which takes longer than an answer.
    """
    verdicts_B, bits_S = selection.verdicts_B, selection.bits_S
    in_doubt = False
    for index in range(rows_M.size):
        verdicts_M[index] = verdicts_B[rows_M[index] // ROWS]
        in_doubt |= verdicts_M[index] == SOME
    if not in_doubt:
        return
    if not bits_S.size:
        _ask_criteria(selection.columns, selection.wanted, rows_M, verdicts_M)
        return
    for index in range(rows_M.size):
        if verdicts_M[index] == SOME:
            row = rows_M[index]
            selected = (bits_S[row >> 6] >> np.uint64(row & 63)) & np.uint64(1)
            verdicts_M[index] = ALL_ROWS if selected else NONE


@compiled
def _ask_criteria(
    columns: Columns, wanted: Criteria, rows_M: NDArray[np.int64], verdicts_M: NDArray[np.uint8]
) -> None:
    """Turn each `SOME` into `NONE` or `ALL_ROWS`; a box that touches a rectangle is in it."""
    boxes_N4, times_N, valid_N, collections_N = columns
    rectangles_R4, start, end, least_valid, wanted_C = wanted
    for index in range(rows_M.size):
        if verdicts_M[index] != SOME:
            continue
        row = rows_M[index]
        selected = valid_N[row] >= least_valid
        if start != NO_TIME:
            selected &= start <= times_N[row] <= end
        if wanted_C.size:
            selected &= wanted_C[collections_N[row]]
        if rectangles_R4.shape[0]:
            west, south = boxes_N4[row, 0], boxes_N4[row, 1]
            east, north = boxes_N4[row, 2], boxes_N4[row, 3]
            touches = False
            for number in range(rectangles_R4.shape[0]):
                left, bottom = rectangles_R4[number, 0], rectangles_R4[number, 1]
                right, top = rectangles_R4[number, 2], rectangles_R4[number, 3]
                abreast = (
                    ((east >= left) | (west <= right)) if west > east else (east >= left) & (west <= right)
                )
                touches |= abreast & (south <= top) & (north >= bottom)
            selected &= touches
        verdicts_M[index] = ALL_ROWS if selected else NONE
