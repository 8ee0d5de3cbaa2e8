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
def is_selected(selection: Selection, row: int) -> bool:
    """Return whether a row is selected."""
    if not selection.verdicts_B.size:
        return True
    answer_1 = np.empty(1, np.bool_)
    ask_rows(selection, row // ROWS, row, answer_1)
    return bool(answer_1[0])


@compiled
def rows_of(selection: Selection) -> NDArray[np.int64]:
    """Return the rows themselves, ascending."""
    rows_M = np.empty(selection.blocks_B.size * ROWS, np.int64)
    answers_B = np.empty(ROWS, np.bool_)
    count = 0
    for block in np.sort(selection.blocks_B):
        first = signed(block) * ROWS
        size = min(ROWS, selection.rows - first)
        ask_rows(selection, signed(block), first, answers_B[:size])
        for offset in range(size):
            if answers_B[offset]:
                rows_M[count] = first + offset
                count += 1
    return rows_M[:count]


@compiled
def ask_rows(selection: Selection, block: int, first: int, answers_M: NDArray[np.bool_]) -> None:
    """Write whether each of some rows of a block is selected, from row ``first``.

    Many at a time: each access to a field of a tuple counts references, which takes longer than an answer.
    """
    if selection.verdicts_B[block] != SOME:
        answers_M[:] = selection.verdicts_B[block] == ALL_ROWS
        return
    bits_S = selection.bits_S
    if bits_S.size:
        for offset in range(answers_M.size):
            row = first + offset
            answers_M[offset] = (bits_S[row >> 6] >> np.uint64(row & 63)) & np.uint64(1)
        return
    _ask_criteria(selection.columns, selection.wanted, first, answers_M)


@compiled
def _ask_criteria(columns: Columns, wanted: Criteria, first: int, answers_M: NDArray[np.bool_]) -> None:
    boxes_N4, times_N, valid_N, collections_N = columns
    rectangles_R4, start, end, least_valid, wanted_C = wanted
    for offset in range(answers_M.size):
        answers_M[offset] = valid_N[first + offset] >= least_valid
    if start != NO_TIME:
        for offset in range(answers_M.size):
            answers_M[offset] &= start <= times_N[first + offset] <= end
    if wanted_C.size:
        for offset in range(answers_M.size):
            answers_M[offset] &= wanted_C[collections_N[first + offset]]
    if rectangles_R4.shape[0]:
        for offset in range(answers_M.size):
            answers_M[offset] &= _touches(boxes_N4, first + offset, rectangles_R4)


@compiled
def _touches(boxes_N4: Floats, row: int, rectangles_R4: Floats) -> bool:
    """Return whether a row's box touches one of the rectangles."""
    west, south, east, north = boxes_N4[row, 0], boxes_N4[row, 1], boxes_N4[row, 2], boxes_N4[row, 3]
    for number in range(rectangles_R4.shape[0]):
        after, before = east >= rectangles_R4[number, 0], west <= rectangles_R4[number, 2]
        abreast = (after or before) if west > east else (after and before)
        if abreast and south <= rectangles_R4[number, 3] and north >= rectangles_R4[number, 1]:
            return True
    return False
