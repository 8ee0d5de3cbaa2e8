"""Where shards meet: which chips of each may be of one place with a chip of another shard.

Two chips of one place have south-western corners less than a quarter of the earlier chip's size apart. So
with square cells at least that wide, their corners lie in one cell, or in two that touch.

Shapes: M boxes; A, B: cells, or numbers of any kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.jit import Int64s
from pipelines.hamming.pairs import COARSEST, COLUMN_BITS, FINEST, cells_at


@dataclass(frozen=True)
class Edge:
    """The cells with the corners of a shard's chips."""

    level: int
    """The finest level whose cells are as wide as a quarter of each chip."""
    cells_A: Int64s
    """(row << 32) + column, ascending."""


_TOWARDS = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Steps [rows, columns]: to one of each two cells that lie opposite around a cell."""
EMPTY_EDGE = Edge(FINEST, np.empty(0, np.int64))


def edge_of(boxes_M4: NDArray[np.float64]) -> Edge:
    """Return the cells of boxes; those without a place are left out."""
    boxes_M4 = boxes_M4[~np.isnan(boxes_M4[:, 0])]
    if not len(boxes_M4):
        return EMPTY_EDGE
    width_M = boxes_M4[:, 2] - boxes_M4[:, 0]
    width_M[width_M < 0] += 360
    reach = max(float(width_M.max()), float((boxes_M4[:, 3] - boxes_M4[:, 1]).max())) / 4
    level = FINEST if not reach else int(np.clip(np.floor(np.log2(360 / reach)), COARSEST, FINEST))
    return Edge(level, _distinct(cells_at(boxes_M4, level)))


def meeting_cells(edges: Sequence[Edge]) -> tuple[int, Int64s]:
    """Return a level, and its cells that have chips of a shard and touch a cell with chips of another."""
    level = min(edge.level for edge in edges)
    cells_A = np.concatenate([_coarser(edge, level) for edge in edges])
    shards_A = np.repeat(np.arange(len(edges)), [len(edge.cells_A) for edge in edges])
    cells_A, first_A, last_A = _with_owners(cells_A, shards_A)
    is_met_A = first_A != last_A
    for steps in _TOWARDS:
        beside_A, are_there_A = places_among(_beside(cells_A, level, *steps), cells_A)
        are_met_A = are_there_A & ((first_A != first_A[beside_A]) | (last_A != last_A[beside_A]))
        is_met_A |= are_met_A
        is_met_A[beside_A[are_met_A]] = True
    return level, cells_A[is_met_A]


def places_among(values_A: Int64s, ascending_B: Int64s) -> tuple[Int64s, NDArray[np.bool_]]:
    """Return where values stand in an array that ascends, and whether they do; `np.isin` would sort it."""
    if not len(ascending_B):
        return np.zeros(len(values_A), np.int64), np.zeros(len(values_A), bool)
    places_A = np.searchsorted(ascending_B, values_A)
    places_A[places_A == len(ascending_B)] = 0
    return places_A, np.asarray(ascending_B[places_A] == values_A)


def _distinct(values_A: Int64s) -> Int64s:
    """Return the values, ascending, each once: a tenth of the time of `np.unique`, which hashes."""
    ascending_A = np.sort(values_A)
    return ascending_A[_begins(ascending_A)]


def _begins(ascending_A: Int64s) -> NDArray[np.bool_]:
    """Return which of some values that ascend, none of them below 0, differ from the one before."""
    return np.asarray(np.diff(ascending_A, prepend=-1) != 0)


def _with_owners(cells_A: Int64s, shards_A: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Return the cells, ascending, each once, with the first and the last of the shards that have it."""
    order_A = np.argsort(cells_A, kind="stable")  # so the shards of a cell ascend too
    cells_A, shards_A = cells_A[order_A], shards_A[order_A]
    begins_A = _begins(cells_A)
    ends_A = np.roll(begins_A, -1)
    return cells_A[begins_A], shards_A[begins_A], shards_A[ends_A]


def _coarser(edge: Edge, level: int) -> Int64s:
    """Return the cells of a coarser level, as many as there were; some stand there more than once."""
    shift = edge.level - level
    column_A, row_A = edge.cells_A & ((1 << COLUMN_BITS) - 1), edge.cells_A >> COLUMN_BITS
    return np.asarray(((row_A >> shift) << COLUMN_BITS) + (column_A >> shift))


def _beside(cells_A: Int64s, level: int, row_step: int, column_step: int) -> Int64s:
    """Return the cells beside some cells in one direction; around the world."""
    column_A = ((cells_A & ((1 << COLUMN_BITS) - 1)) + column_step) % 2**level
    row_A = (cells_A >> COLUMN_BITS) + row_step
    return np.asarray((row_A << COLUMN_BITS) + column_A)
