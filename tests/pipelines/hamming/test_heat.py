"""Counts in cells and at distances, against a slow reference that looks at one row after the other.

Shapes: N rows, Y bytes a code, E examples, K bits.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.codes import unpack
from pipelines.hamming.arrays import build_arrays
from pipelines.hamming.code_index import BitWeights, CodeIndex, Examples
from pipelines.hamming.comparison import Comparison
from pipelines.hamming.heat import NOTHING, View
from pipelines.hamming.limits import Limits
from pipelines.hamming.row_filter import EVERY_ROW, filter_by_mask

ROWS = 1300  # more than two blocks
PARTS = {(32,): [((1,), (0,))], (16, 24): [((3, 1), (0, 0)), ((1, 0), (0, 1)), ((0, 1), (1, 0))]}


def made(part_bits: tuple[int, ...]) -> tuple[CodeIndex, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(sum(part_bits))
    codes_NY = rng.integers(0, 256, (ROWS, sum(part_bits) // 8), np.uint8)
    codes_NY[::3] = codes_NY[0]
    west_N, south_N = rng.integers(-36, 36, ROWS) * 5.0, rng.integers(-9, 8, ROWS) * 10.0
    east_N = (west_N + rng.choice([2.0, 10.0], ROWS) + 180) % 360 - 180
    boxes_N4 = np.stack([west_N, south_N, east_N, south_N + 10], axis=1)
    boxes_N4[::17] = np.nan
    return CodeIndex(build_arrays(codes_NY, None, part_bits)), codes_NY, boxes_N4


INDICES = {part_bits: made(part_bits) for part_bits in PARTS}


def cell_of(box: np.ndarray, view: View) -> tuple[int, int] | None:
    """Row and column of the cell that has the centre of a box, in whole numbers and fractions."""
    if math.isnan(box[0]):
        return None
    west, south, east, north = (Fraction(float(side)) for side in box)
    along = (west + (east - west) % 360 / 2 - Fraction(view.west)) % 360
    below = Fraction(view.north) - (south + north) / 2
    if along > Fraction(view.across) or not 0 <= below <= Fraction(view.down):
        return None
    column = math.floor(along / Fraction(view.across) * view.columns)
    row = math.floor(below / Fraction(view.down) * view.rows)
    return min(row, view.rows - 1), min(column, view.columns - 1)


@settings(max_examples=60, deadline=None)
@given(
    part_bits=st.sampled_from(list(PARTS)),
    number=st.integers(0, 2),
    positives=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=3),
    negatives=st.lists(st.integers(0, ROWS - 1), max_size=2),
    has_weights=st.booleans(),
    max_distance=st.none() | st.integers(0, 30),
    view=st.sampled_from(
        [
            View(-180.0, 90.0, 360.0, 180.0, 36, 18),
            View(170.0, 40.0, 20.0, 80.0, 4, 8),
            View(-45.0, 30.0, 75.0, 40.0, 1, 3),
            View(0.0, 90.0, 360.0, 90.0, 7, 512),
        ]
    ),
    is_filtered=st.booleans(),
    excludes=st.booleans(),
)
def test_any_question(
    part_bits: tuple[int, ...],
    number: int,
    positives: list[int],
    negatives: list[int],
    has_weights: bool,
    max_distance: int | None,
    view: View,
    is_filtered: bool,
    excludes: bool,
) -> None:
    index, codes_NY, boxes_N4 = INDICES[part_bits]
    choices = PARTS[part_bits]
    comparison = Comparison(*choices[number % len(choices)])
    weights_K = np.random.default_rng(number).integers(0, 16, sum(part_bits)) if has_weights else None
    mask_N = np.random.default_rng(number).random(ROWS) < 0.3 if is_filtered else np.ones(ROWS, bool)
    excluded = [*positives, *negatives] if excludes else []
    scale, heat = index.heat(
        Examples(codes_NY[positives], codes_NY[negatives]),
        boxes_N4,
        view,
        Limits(None, max_distance, tuple(excluded), filter_by_mask(mask_N) if is_filtered else EVERY_ROW),
        comparison=comparison,
        bit_weights=None if weights_K is None else BitWeights(weights_K, 8),
    )
    own_K = np.full(sum(part_bits), 8) if weights_K is None else weights_K
    full_K = own_K * np.repeat(comparison.weights, part_bits)

    def means(rows: list[int]) -> list[Fraction]:
        """The mean distance of each row of the table to some rows."""
        if not rows:
            return [Fraction(0)] * ROWS
        bits_NK = unpack(codes_NY).astype(int)
        sums_N = sum((np.abs(bits_NK - bits_NK[each]) @ full_K for each in rows), np.zeros(ROWS, int))
        return [Fraction(total, 8 * len(rows)) for total in sums_N.tolist()]

    towards, away = means(positives), means(negatives)

    cells: dict[tuple[int, int], list[Fraction]] = {}
    at: dict[int, int] = {}
    for row in np.flatnonzero(mask_N).tolist():
        if row in excluded:
            continue
        distance = towards[row] - away[row]
        at[math.ceil(distance)] = at.get(math.ceil(distance), 0) + 1
        cell = cell_of(boxes_N4[row], view)
        if cell is not None and (max_distance is None or distance <= max_distance):
            cells.setdefault(cell, []).append(distance)
    counted = np.flatnonzero(heat.histogram_D)
    assert {heat.lowest + int(place): int(heat.histogram_D[place]) for place in counted} == at
    filled = np.flatnonzero(heat.counts_C).tolist()
    assert {divmod(cell, view.columns): int(heat.counts_C[cell]) for cell in filled} == {
        cell: len(distances) for cell, distances in cells.items()
    }
    for cell, distances in cells.items():
        least = int(heat.least_C[cell[0] * view.columns + cell[1]])
        assert Fraction(least, scale.unit) == min(distances)
    assert (heat.least_C[heat.counts_C == 0] == NOTHING).all()


def test_an_index_without_rows() -> None:
    index = CodeIndex(build_arrays(np.empty((0, 4), np.uint8)))
    _, heat = index.heat(
        Examples(np.zeros((1, 4), np.uint8), np.empty((0, 4), np.uint8)),
        np.empty((0, 4)),
        View(0.0, 1.0, 1.0, 1.0, 2, 2),
        Limits(),
    )
    assert heat.counts_C.sum() == heat.histogram_D.sum() == 0


def test_a_code_of_another_length() -> None:
    index, _, boxes_N4 = INDICES[(32,)]
    with pytest.raises(ValueError, match="the code has 40 bits"):
        index.heat(
            Examples(np.zeros((1, 5), np.uint8), np.empty((0, 4), np.uint8)),
            boxes_N4,
            View(0.0, 1.0, 1.0, 1.0, 2, 2),
            Limits(),
        )
