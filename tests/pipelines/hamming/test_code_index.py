"""The index against plain numpy: the same answer bit for bit, whatever the method."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.hamming import code_index
from pipelines.hamming.arrays import build_arrays
from pipelines.hamming.code_index import CodeIndex
from pipelines.hamming.limits import Limits
from pipelines.hamming.row_filter import filter_by_mask
from tests.pipelines.hamming.oracle import answer, clustered, limits_of, nearest, one_bucket, uniform

METHODS = ("auto", "scan", "mih")


def index_of(codes_NY, ranks_N=None, threads=1):
    return CodeIndex(build_arrays(codes_NY, ranks_N), threads)


@st.composite
def searches(draw):
    num_bytes, num_codes = draw(st.sampled_from([1, 2, 4, 7, 8, 9, 16, 31, 128])), draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # few distinct bytes: equal codes and ties are the rule, not the exception
    palette = rng.integers(0, 256, draw(st.integers(1, 4)), np.uint8)
    codes_NY, code_Y = rng.choice(palette, (num_codes, num_bytes)), rng.choice(palette, num_bytes)
    limits = {
        "k": draw(st.none() | st.integers(1, 80)),
        "max_distance": draw(st.none() | st.integers(0, num_bytes * 8 + 3)),
        "excluded_row": draw(st.integers(0, num_codes - 1)) if num_codes and draw(st.booleans()) else None,
    }
    ranks_N = rng.permutation(num_codes).astype(np.uint32) if draw(st.booleans()) else None
    mask_N = rng.random(num_codes) < draw(st.sampled_from([0, 0.1, 0.9])) if draw(st.booleans()) else None
    return codes_NY, code_Y, limits, ranks_N, mask_N


@given(searches())
@settings(max_examples=300, deadline=None)
def test_small_indices_answer_as_the_oracle_does(search):
    codes_NY, code_Y, limits, ranks_N, mask_N = search
    hits = index_of(codes_NY, ranks_N).search(code_Y, limits_of(**limits, mask_N=mask_N))
    assert answer(hits) == nearest(codes_NY, code_Y, **limits, ranks_N=ranks_N, mask_N=mask_N)


LIMITS = [{"k": 1}, {"k": 10}, {"k": 10_000}, *({"k": None, "max_distance": far} for far in (0, 2, 8))]
LIMITS += [{"k": 100, "max_distance": 4}, {"k": 5, "max_distance": 14}]


@pytest.mark.parametrize(
    ("make", "num_bytes"),
    [
        (uniform, 4),
        (uniform, 8),
        (clustered, 8),
        (clustered, 12),
        (clustered, 16),
        (clustered, 32),
        (one_bucket, 8),
    ],
)
def test_tables_answer_as_the_oracle_does(make, num_bytes):
    codes_NY = make(20_000, num_bytes)
    ranks_N = np.random.default_rng(1).permutation(len(codes_NY)).astype(np.uint32)
    index = index_of(codes_NY, ranks_N)
    assert index.arrays.tables.starts_TP.size
    mask_N = np.random.default_rng(2).random(len(codes_NY)) < 0.3
    for number, limits in enumerate(LIMITS):
        row = 997 * number
        code_Y = codes_NY[row] if number % 2 else clustered(1, num_bytes, seed=number)[0]
        for more in ({}, {"excluded_row": row}, {"mask_N": mask_N}, {"mask_N": mask_N, "excluded_row": row}):
            want = nearest(codes_NY, code_Y, **limits, ranks_N=ranks_N, **more)
            for method in METHODS:
                hits = index.search(code_Y, limits_of(**limits, **more), method=method)
                assert answer(hits) == want, (limits, more.keys(), method)


def test_asked_for_a_method_it_is_taken():
    codes_NY = clustered(400_000, 8, centres=1000)
    index = index_of(codes_NY)
    assert [index.search(codes_NY[0], Limits(10), method=method).method for method in METHODS] == [
        "mih",
        "scan",
        "mih",
    ]
    assert index.search(codes_NY[0], Limits(10)).codes_compared < 10_000


def test_a_search_that_tables_make_dearer_is_a_scan():
    codes_NY = one_bucket(200_000, 8)
    hits = index_of(codes_NY).search(uniform(1, 8)[0], Limits(10))
    assert hits.method == "scan"
    assert hits.codes_compared == 200_000


@pytest.mark.parametrize("make", [uniform, clustered])
def test_a_batch_answers_as_its_queries_one_by_one(make):
    codes_NY = make(30_000, 8)
    queries_QY = np.concatenate([codes_NY[:7], uniform(7, 8, seed=3)])
    index = index_of(codes_NY)
    for method in METHODS:
        for limits in ((10, None), (None, 9), (3, 20)):
            batch = index.search_batch(queries_QY, [Limits(*limits)] * len(queries_QY), method=method)
            assert [answer(hits) for hits in batch] == [
                answer(index.search(code_Y, Limits(*limits), method="scan")) for code_Y in queries_QY
            ]
    assert index.search_batch(queries_QY[:0], []) == []


def test_threads_and_shards_change_nothing():
    codes_NY, query_Y = clustered(700_000, 8), uniform(1, 8)[0]
    want = nearest(codes_NY, query_Y, 300)
    for threads in (1, 2):
        assert answer(index_of(codes_NY, threads=threads).search(query_Y, Limits(300), method="scan")) == want
    starts = [0, 1, 250_000, 700_000]
    merged = []
    for first, last in pairwise(starts):
        hits = index_of(codes_NY[first:last]).search(query_Y, Limits(300))
        merged += zip(hits.distances_K.tolist(), (hits.rows_K + first).tolist(), strict=True)
    assert sorted(merged)[:300] == list(zip(want[1], want[0], strict=True))


def test_equal_codes_are_one_group_however_many_there_are():
    index = index_of(np.full((50_000, 8), 7, np.uint8))
    hits = index.search(np.full(8, 7, np.uint8), Limits(4))
    assert (hits.rows_K.tolist(), hits.ties_at_cutoff, hits.within) == ([0, 1, 2, 3], 49_996, None)
    assert (hits.codes_compared, index.distinct_codes) == (1, 1)


@pytest.mark.parametrize("num_bytes", [1, 8, 13, 128])
def test_gives_back_its_codes_and_counts_the_distinct(num_bytes, monkeypatch):
    codes_NY = np.random.default_rng(0).integers(0, 3, (50, num_bytes), np.uint8)
    index = index_of(codes_NY)
    assert (np.stack([index.code(row) for row in range(50)]) == codes_NY).all()
    monkeypatch.setattr(code_index, "_ROWS_AT_ONCE", 7)
    rows_M = np.random.default_rng(1).integers(0, 50, 30)
    assert (index.codes(rows_M) == codes_NY[rows_M]).all()
    assert index.codes(rows_M[:0]).shape == (0, codes_NY.shape[1])
    assert index.distinct_codes == len(np.unique(codes_NY, axis=0))
    assert (len(index), index.bits) == (50, num_bytes * 8)


def test_says_what_does_not_fit():
    index = index_of(uniform(5, 8))
    with pytest.raises(ValueError, match="one row at most"):
        index.search(np.zeros(8, np.uint8), Limits(1, excluded_rows=(1, 2)))
    filtered = Limits(1, row_filter=filter_by_mask(np.ones(5, bool)))
    for limits, message in (([Limits(1), Limits(2)], "same k"), ([filtered] * 2, "no filter")):
        with pytest.raises(ValueError, match=message):
            index.search_batch(np.zeros((2, 8), np.uint8), limits)
    with pytest.raises(ValueError, match="has 32 bits, the index 64"):
        index.search(np.zeros(4, np.uint8), Limits(1))
    for k, max_distance in ((0, None), (-1, None), (1, -1)):
        with pytest.raises(ValueError, match="1 or more"):
            index.search(np.zeros(8, np.uint8), Limits(k, max_distance))
    for codes_NY in (np.zeros((2, 129), np.uint8), np.zeros((2, 8), np.int8), np.zeros(8, np.uint8)):
        with pytest.raises(ValueError, match="codes must be uint8"):
            build_arrays(codes_NY)
