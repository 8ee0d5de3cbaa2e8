"""The rows that a filter leaves, told block by block, and row by row only of what is near enough to matter.

Shapes: N rows, B blocks, R rectangles, C collections, S = ceil(N / 64) words.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.kernels import Words, compiled, signed

ROWS = 512
"""Rows in a block."""
_WIDE = 0.2  # share of the blocks
NO_TIME = np.iinfo(np.int64).min
"""The time of a chip without one; no interval holds it."""
NONE, SOME, ALL_ROWS = 0, 1, 2
"""What of a block is selected; of some blocks the rows must be asked one by one."""

UInt32s = NDArray[np.uint32]
Floats = NDArray[np.float64]
Plain = tuple[Any, ...]
"""Fields of a named tuple in their order: a named one takes numba as long to unwrap as eight arrays."""


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
    columns: Plain
    """`Columns`."""
    wanted: Plain
    """`Criteria`: what tells of the rows of `SOME` blocks, unless there are bits."""
    bits_S: Words
    """Bit i % 64 of word i // 64 says whether row i of a `SOME` block is selected. Empty: the criteria do."""
    rows: int
    """Of the index."""


ANYTHING = Criteria(np.empty((0, 4)), NO_TIME, np.iinfo(np.int64).max, 0.0, np.empty(0, bool))
_NO_COLUMNS = Columns(
    np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.uint32)
)
_NO_BITS = np.empty(0, np.uint64)
EVERY_ROW = Selection(
    np.empty(0, np.uint8), np.empty(0, np.uint32), tuple(_NO_COLUMNS), tuple(ANYTHING), _NO_BITS, 0
)


def select(mask_N: NDArray[np.bool_]) -> Selection:
    """Return the rows that a mask is true for."""
    padded = np.zeros(-(-mask_N.size // ROWS) * ROWS, bool)
    padded[: mask_N.size] = mask_N
    verdicts_B = np.where(padded.reshape(-1, ROWS).any(axis=1), SOME, NONE).astype(np.uint8)
    bits_S = np.packbits(padded, bitorder="little").view(np.uint64)
    blocks_B = np.flatnonzero(verdicts_B).astype(np.uint32)
    return Selection(verdicts_B, blocks_B, tuple(_NO_COLUMNS), tuple(ANYTHING), bits_S, mask_N.size)


def every_block(rows: int) -> Selection:
    """Return the selection of every row, where a kernel takes blocks."""
    blocks = -(-rows // ROWS)
    return EVERY_ROW._replace(
        verdicts_B=np.full(blocks, ALL_ROWS, np.uint8), blocks_B=np.arange(blocks, dtype=np.uint32), rows=rows
    )


def is_wide(selection: Selection) -> bool:
    """Return whether so much is selected that an index of all rows wouldn't meet mostly others."""
    return selection.blocks_B.size >= _WIDE * selection.verdicts_B.size


@compiled
def rows_of(selection: Selection) -> NDArray[np.int64]:
    """Return the rows themselves, ascending."""
    rows_M = np.empty(selection.blocks_B.size * ROWS, np.int64)
    verdicts_B = np.empty(ROWS, np.uint8)
    count = 0
    for block in selection.blocks_B:
        first = signed(block) * ROWS
        rows_B = np.arange(first, min(first + ROWS, selection.rows))
        if selection.verdicts_B[block] == ALL_ROWS:
            verdicts_B[:] = ALL_ROWS
        else:
            _ask_doubtful(selection, rows_B, verdicts_B)
        for index in range(rows_B.size):
            rows_M[count] = rows_B[index]
            count += verdicts_B[index] != NONE
    return rows_M[:count]


@compiled
def ask_rows(selection: Selection, rows_M: NDArray[np.int64], verdicts_M: NDArray[np.uint8]) -> None:
    """Write whether each of some rows is selected: `NONE` or `ALL_ROWS`.

    Many at a time: each call counts the references to its arrays, which takes longer than an answer.
    """
    verdicts_B = selection.verdicts_B
    rows_D, places_D = np.empty(rows_M.size, np.int64), np.empty(rows_M.size, np.int64)
    count = 0
    for place in range(rows_M.size):
        verdicts_M[place] = verdicts_B[rows_M[place] // ROWS]
        rows_D[count], places_D[count] = rows_M[place], place
        count += verdicts_M[place] == SOME
    if not count:
        return
    verdicts_D = np.empty(count, np.uint8)
    _ask_doubtful(selection, rows_D[:count], verdicts_D)
    for index in range(count):
        verdicts_M[places_D[index]] = verdicts_D[index]


@compiled
def _ask_doubtful(selection: Selection, rows_D: NDArray[np.int64], verdicts_D: NDArray[np.uint8]) -> None:
    """Write whether each row of `SOME` blocks is selected."""
    bits_S = selection.bits_S
    if not bits_S.size:
        _ask_criteria(selection.columns, selection.wanted, rows_D, verdicts_D)
        return
    for index in range(rows_D.size):
        row = rows_D[index]
        selected = (bits_S[row >> 6] >> np.uint64(row & 63)) & np.uint64(1)
        verdicts_D[index] = ALL_ROWS if selected else NONE


@compiled
def _ask_criteria(
    columns: Plain, wanted: Plain, rows_D: NDArray[np.int64], verdicts_D: NDArray[np.uint8]
) -> None:
    """Write which rows fulfil all criteria; a box that touches a rectangle is in it.

    One criterion after the other, in numbers: truth values are branches to numba, and which way they go can't
    be foretold. Rows are unsigned, as others would be looked at: are they counted from the end?
    """
    boxes_N4, times_N, valid_N, collections_N = columns
    rectangles_R4, start, end, least_valid, wanted_C = wanted
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
