"""The index against ten lines of plain numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.index.codes import CodeIndex


def brute_force(codes_NY, code_Y, k, max_distance, excluded_row):
    distances_N = np.unpackbits(codes_NY ^ code_Y, axis=1).sum(axis=1)
    found = sorted((int(distance), row) for row, distance in enumerate(distances_N) if row != excluded_row)
    within = [pair for pair in found if max_distance is None or pair[0] <= max_distance]
    kept = within if k is None else within[:k]
    kth = kept[-1][0] if kept else None
    ties = sum(distance == kth for distance, _ in within) - sum(distance == kth for distance, _ in kept)
    return kept, kth, ties, len(within)


@st.composite
def searches(draw):
    num_bytes, num_codes = draw(st.integers(1, 20)), draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # few distinct bytes: equal codes and ties are the rule, not the exception
    palette = rng.integers(0, 256, draw(st.integers(1, 4)), np.uint8)
    codes_NY = rng.choice(palette, (num_codes, num_bytes))
    code_Y = rng.choice(palette, num_bytes)
    k = draw(st.none() | st.integers(0, 80))
    max_distance = draw(st.none() | st.integers(0, num_bytes * 8 + 3))
    excluded_row = draw(st.integers(0, num_codes - 1)) if num_codes and draw(st.booleans()) else None
    return codes_NY, code_Y, k, max_distance, excluded_row


@given(searches())
@settings(max_examples=300, deadline=None)
def test_answers_equal_the_brute_force(search):
    codes_NY, *query = search
    hits = CodeIndex(codes_NY).search(*query)
    pairs = list(zip(hits.distances_M.tolist(), hits.rows_M.tolist(), strict=True))
    assert (pairs, hits.kth_distance, hits.ties_at_cutoff, hits.within) == brute_force(codes_NY, *query)


def test_equal_codes_come_in_row_order_and_the_rest_are_ties():
    hits = CodeIndex(np.full((9, 8), 7, np.uint8)).search(np.full(8, 7, np.uint8), 4, None)
    assert hits.rows_M.tolist() == [0, 1, 2, 3]
    assert (hits.kth_distance, hits.ties_at_cutoff, hits.within) == (0, 5, 9)


@pytest.mark.parametrize("num_bytes", [1, 8, 13, 128])
def test_gives_back_its_codes_and_counts_the_distinct(num_bytes):
    codes_NY = np.random.default_rng(0).integers(0, 3, (50, num_bytes), np.uint8)
    index = CodeIndex(codes_NY)
    assert (np.stack([index.code(row) for row in range(50)]) == codes_NY).all()
    assert index.count_distinct() == len(np.unique(codes_NY, axis=0))
    assert (len(index), index.bits) == (50, num_bytes * 8)


def test_an_empty_index_answers_nothing():
    index = CodeIndex(np.empty((0, 8), np.uint8))
    hits = index.search(np.zeros(8, np.uint8), 10, None)
    assert (len(hits.rows_M), hits.kth_distance, index.count_distinct()) == (0, None, 0)


def test_refuses_what_it_cannot_compare():
    index = CodeIndex(np.zeros((3, 8), np.uint8))
    with pytest.raises(ValueError, match="64"):
        index.search(np.zeros(4, np.uint8), 1, None)
    with pytest.raises(ValueError, match="negative"):
        index.search(np.zeros(8, np.uint8), -1, None)
    with pytest.raises(ValueError, match="uint8"):
        CodeIndex(np.zeros((3, 8), np.int64))
