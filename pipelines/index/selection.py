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
    """The blocks of which not none are, ascending."""
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
def is_selected(selection: Selection, row: int) -> bool:
    """Return whether a row is selected."""
    if not selection.verdicts_B.size:
        return True
    verdict = selection.verdicts_B[row // ROWS]
    if verdict != SOME:
        return bool(verdict == ALL_ROWS)
    if selection.bits_S.size:
        return signed(selection.bits_S[row >> 6] >> np.uint64(row & 63)) & 1 == 1
    return fulfils(selection.columns, selection.wanted, row)


@compiled
def fulfils(columns: Columns, wanted: Criteria, row: int) -> bool:
    """Return whether a row fulfils the criteria."""
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


@compiled
def rows_of(selection: Selection) -> NDArray[np.int64]:
    """Return the rows themselves, ascending."""
    rows_M = np.empty(selection.blocks_B.size * ROWS, np.int64)
    count = 0
    for block in selection.blocks_B:
        first = signed(block) * ROWS
        for row in range(first, min(first + ROWS, selection.rows)):
            if is_selected(selection, row):
                rows_M[count] = row
                count += 1
    return rows_M[:count]
