"""Rows in each cell of a view, the least distance in each cell, and rows at each distance of the whole table.

Every row that passes a filter is compared. A distance is a sum over the bits of a code, whatever the examples
and weights are: so it is looked up byte by byte in tables made for the question.

Shapes: N rows, W words a code, T bytes of a code's words, V = 256 values of a byte, B bits of the words, with
those that fill them up, E examples, M rows of a block, C cells, D distances, X excluded rows.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.jit import Int64s, Plain, UInt32s, Words, compiled, signed
from pipelines.hamming.row_filter import ALL_ROWS, NONE, ROWS, Floats, RowFilter, judge_rows

Int32s = NDArray[np.int32]
NOTHING = np.iinfo(np.int32).max
"""The least distance of a cell without rows."""


class View(NamedTuple):
    """A box that is divided into cells: columns from west to east, rows from north to south."""

    west: float
    """[degrees], as the following three."""
    north: float
    across: float
    """East less west, above 0, at most 360."""
    down: float
    """North less south, above 0."""
    columns: int
    rows: int


@dataclass(frozen=True)
class Scale:
    """How the distance of any code is looked up. In units, of which ``unit`` are one bit."""

    tables_TV: Int32s
    """What each value of each byte of a code adds; the lowest byte of the first word first."""
    unit: int
    least: int
    greatest: int
    """Of the distances that there may be."""


@dataclass(frozen=True)
class Heat:
    """What is in the cells of a view, and at which distances."""

    counts_C: UInt32s
    """Rows in each cell, row by row of the view."""
    least_C: Int32s
    """Least distance in each cell, in units of the scale; `NOTHING` where no row lies."""
    lowest: int
    """The first of ``histogram_D``'s distances [bits]."""
    histogram_D: Int64s
    """Rows at each distance, rounded up to whole bits, wherever they lie."""


def scale_of(positives_EW: Words, negatives_EW: Words, weights_B: Int64s, weight_of_a_bit: int) -> Scale:
    """Return the scale of the mean distance to positives less the mean distance to negatives.

    ``weights_B``: what each bit of the words counts, the highest bit of the first word first; 0 where a word
    is filled up. ``weight_of_a_bit``: which weight counts as one bit.
    """
    positives, negatives = len(positives_EW), max(1, len(negatives_EW))
    # of examples that have the bit, and of all
    ones_B = negatives * _bits(positives_EW).sum(axis=0) - positives * _bits(negatives_EW).sum(axis=0)
    total = negatives * positives - positives * len(negatives_EW)
    if_zero_B, if_one_B = weights_B * ones_B, weights_B * (total - ones_B)
    values_V8 = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    # bytes lie from high to low in a word; kernels take them from low to high
    zero_T8, one_T8 = (
        each_B.reshape(-1, 8, 8)[:, ::-1].reshape(-1, 8).astype(np.int64) for each_B in (if_zero_B, if_one_B)
    )
    tables_TV = one_T8 @ values_V8.T.astype(np.int64) + zero_T8 @ (1 - values_V8.T.astype(np.int64))
    return Scale(
        np.ascontiguousarray(tables_TV.astype(np.int32)),
        positives * negatives * weight_of_a_bit,
        int(np.minimum(if_zero_B, if_one_B).sum()),
        int(np.maximum(if_zero_B, if_one_B).sum()),
    )


def _bits(examples_EW: Words) -> Int64s:
    """Return bits_EB, the highest bit of the first word first."""
    width = examples_EW.shape[1] * 64
    swapped = np.ascontiguousarray(examples_EW).astype(">u8")
    return np.unpackbits(swapped.view(np.uint8).reshape(-1, width // 8), axis=1).astype(np.int64)


@compiled
def heat_of_rows(
    codes_WN: Words,
    boxes_N4: Floats,
    tables_TV: Int32s,
    bounds: tuple[int, int, int, int],
    view: Plain,
    excluded_X: Int64s,
    row_filter: Plain,
) -> tuple[UInt32s, Int32s, Int64s]:
    """Return counts_C, least_C and histogram_D of the rows of a filter, whose blocks must be listed.

    ``bounds``: the unit, the greatest distance of a row in a cell [units], and the first and the last
    distance of the histogram [bits]. ``view``: `View`.
    """
    unit, farthest, lowest, highest = bounds
    chosen = RowFilter(*row_filter)
    cells = view[4] * view[5]
    counts_C, least_C = np.zeros(cells, np.uint32), np.full(cells, NOTHING, np.int32)
    histogram_D = np.zeros(highest - lowest + 1, np.int64)
    distances_M, verdicts_M = np.empty(ROWS, np.int32), np.empty(ROWS, np.uint8)
    for block in chosen.blocks_B:
        start = signed(block) * ROWS
        end = min(start + ROWS, codes_WN.shape[1])
        verdicts_M[:] = ALL_ROWS
        if chosen.verdicts_B[block] != ALL_ROWS:
            judge_rows(chosen, np.arange(start, end), verdicts_M)
        for place in range(excluded_X.size):
            if start <= excluded_X[place] < end:
                verdicts_M[excluded_X[place] - start] = NONE
        _look_up(codes_WN, start, end, tables_TV, distances_M)
        _count(
            boxes_N4,
            start,
            end,
            (unit, farthest, lowest),
            view,
            distances_M,
            verdicts_M,
            counts_C,
            least_C,
            histogram_D,
        )
    return counts_C, least_C, histogram_D


@compiled
def _look_up(codes_WN: Words, start: int, end: int, tables_TV: Int32s, distances_M: Int32s) -> None:
    """Write the distances of a block of rows."""
    for word in range(codes_WN.shape[0]):
        first = word * 8
        words_M = codes_WN[word, start:end]
        for place in range(end - start):
            code = words_M[place]
            total = tables_TV[first, code & np.uint64(255)]
            for byte in range(1, 8):
                total += tables_TV[first + byte, (code >> np.uint64(8 * byte)) & np.uint64(255)]
            distances_M[place] = total if word == 0 else distances_M[place] + total


@compiled
def _count(
    boxes_N4: Floats,
    start: int,
    end: int,
    bounds: tuple[int, int, int],
    view: Plain,
    distances_M: Int32s,
    verdicts_M: NDArray[np.uint8],
    counts_C: UInt32s,
    least_C: Int32s,
    histogram_D: Int64s,
) -> None:
    """Count the rows of a block that pass, by distance and by cell."""
    unit, farthest, lowest = bounds
    west, north, across, down, columns, rows = view
    for place in range(end - start):
        if verdicts_M[place] == NONE:
            continue
        distance = signed(distances_M[place])
        histogram_D[-(-distance // unit) - lowest] += 1
        box_4 = boxes_N4[start + place]
        width = box_4[2] - box_4[0]
        if width < 0:
            width += 360.0
        along = box_4[0] + width / 2 - west
        along -= 360.0 * np.floor(along / 360.0)
        below = north - (box_4[1] + box_4[3]) / 2
        # false for NaN: a row without a place
        if not (along <= across and 0 <= below <= down) or distance > farthest:
            continue
        column = min(signed(along / across * columns), columns - 1)
        row = min(signed(below / down * rows), rows - 1)
        cell = row * columns + column
        counts_C[cell] += np.uint32(1)
        least_C[cell] = min(least_C[cell], distances_M[place])
