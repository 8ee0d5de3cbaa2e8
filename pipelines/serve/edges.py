"""Where shards meet: which chips of each may be of one place with a chip of another shard.

Two chips of one place have south-western corners less than a quarter of the earlier chip's size apart. So
with square cells at least that wide, their corners lie in one cell, or in two that touch.

Shapes: M boxes, A cells.
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


_TOWARDS = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))
"""Steps [rows, columns]: to a cell itself, and to one of each two cells that lie opposite around it."""
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
    return Edge(level, np.unique(cells_at(boxes_M4, level)))


def meeting_cells(edges: Sequence[Edge]) -> tuple[int, Int64s]:
    """Return a level, and its cells that have chips of a shard and touch a cell with chips of another."""
    level = min(edge.level for edge in edges)
    cells = [_coarser(edge, level) for edge in edges]
    meeting = [np.empty(0, np.int64)]
    for number, own_A in enumerate(cells):
        others_A = np.unique(
            np.concatenate([other_A for place, other_A in enumerate(cells) if place != number])
        )
        for steps in _TOWARDS:
            beside_A = _beside(own_A, level, *steps)
            is_met_A = is_among(beside_A, others_A)
            meeting += [own_A[is_met_A], beside_A[is_met_A]]
    return level, np.unique(np.concatenate(meeting))


def is_among(values_A: Int64s, ascending_A: Int64s) -> NDArray[np.bool_]:
    """Return which values stand in an array that ascends; `np.isin` would sort it each time."""
    if not len(ascending_A):
        return np.zeros(len(values_A), bool)
    places_A = np.searchsorted(ascending_A, values_A)
    places_A[places_A == len(ascending_A)] = 0
    return np.asarray(ascending_A[places_A] == values_A)


def _coarser(edge: Edge, level: int) -> Int64s:
    shift = edge.level - level
    column_A, row_A = edge.cells_A & ((1 << COLUMN_BITS) - 1), edge.cells_A >> COLUMN_BITS
    return np.unique(((row_A >> shift) << COLUMN_BITS) + (column_A >> shift))


def _beside(cells_A: Int64s, level: int, row_step: int, column_step: int) -> Int64s:
    """Return the cells beside some cells in one direction; around the world."""
    column_A = ((cells_A & ((1 << COLUMN_BITS) - 1)) + column_step) % 2**level
    row_A = (cells_A >> COLUMN_BITS) + row_step
    return np.asarray((row_A << COLUMN_BITS) + column_A)
