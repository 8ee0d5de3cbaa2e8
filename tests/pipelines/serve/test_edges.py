"""Where shards meet: the cells that touch a cell of another shard, by the plain definition.

Shapes: A cells.
"""

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.hamming.pairs import COLUMN_BITS
from pipelines.serve.edges import EMPTY_EDGE, Edge, edge_of, meeting_cells

Cell = tuple[int, int]
LEVEL = 3
SIDE = 2**LEVEL
a_cell = st.tuples(st.integers(0, SIDE // 2 - 1), st.integers(0, SIDE - 1))


def edge(cells: set[Cell], level: int = LEVEL) -> Edge:
    keys = sorted((row << COLUMN_BITS) + column for row, column in cells)
    return Edge(level, np.array(keys, np.int64))


def cells_of(keys_A: np.ndarray) -> list[Cell]:
    return [divmod(key, 1 << COLUMN_BITS) for key in keys_A.tolist()]


def around(cell: Cell) -> set[Cell]:
    row, column = cell
    steps = product((-1, 0, 1), repeat=2)
    return {(row + up, (column + right) % SIDE) for up, right in steps}


@given(st.lists(st.sets(a_cell, max_size=6), min_size=2, max_size=4))
def test_cells_that_touch_one_of_another_shard(shards: list[set[Cell]]) -> None:
    wanted = {
        cell
        for number, own in enumerate(shards)
        for cell in own
        if any(around(cell) & other for place, other in enumerate(shards) if place != number)
    }
    level, found_A = meeting_cells([edge(cells) for cells in shards])
    assert level == LEVEL
    assert cells_of(found_A) == sorted(wanted)


@given(
    st.sets(a_cell), st.sets(a_cell), st.sets(st.sampled_from([(0, 0), (0, 1), (1, 0), (1, 1)]), min_size=1)
)
def test_the_coarser_level_decides(coarse: set[Cell], fine: set[Cell], parts: set[Cell]) -> None:
    fine_cells = {(2 * row + down, 2 * column + right) for row, column in fine for down, right in parts}
    found = meeting_cells([edge(coarse), edge(fine_cells, LEVEL + 1)])
    same = meeting_cells([edge(coarse), edge(fine)])
    assert found[0] == same[0] == LEVEL
    assert found[1].tolist() == same[1].tolist()


def test_shards_without_a_place() -> None:
    nowhere_M4 = np.full((2, 4), np.nan)
    assert edge_of(nowhere_M4) is EMPTY_EDGE
    _, found_A = meeting_cells([EMPTY_EDGE, EMPTY_EDGE])
    assert found_A.tolist() == []
