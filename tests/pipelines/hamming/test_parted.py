"""Codes in parts against plain numpy: every comparison, method, filter, limit and tie; bits with weights.

Shapes: N codes, Y bytes a code, P parts, K bits.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.hamming.arrays import build_arrays, joined, separate
from pipelines.hamming.blocks import build_blocks
from pipelines.hamming.code_index import CodeIndex, Examples
from pipelines.hamming.comparison import Comparison
from pipelines.hamming.examples import search_examples
from pipelines.hamming.limits import Limits
from tests.pipelines.hamming.oracle import clustered, first_rows, limits_of, part_sums, weighted_answer

METHODS = ("auto", "scan", "mih")
KIND, LOOK = Comparison((1, 0), (0, 1)), Comparison((0, 1), (1, 0))
BOTH = [Comparison((weight, 1), (0, 0)) for weight in range(9)]


def index_of(codes_NY, part_bits, ranks_N=None, threads=1):
    return CodeIndex(build_arrays(codes_NY, ranks_N, part_bits), threads)


@st.composite
def questions(draw):
    part_bits = draw(st.sampled_from([(8, 8), (8, 24), (64, 192), (72, 8), (1000, 24), (16, 8, 40), (24,)]))
    count, width = draw(st.integers(0, 90)), sum(part_bits) // 8
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # few distinct bytes: equal codes, equal parts and ties are the rule, not the exception
    palette = rng.integers(0, 256, draw(st.integers(1, 4)), np.uint8)
    codes_NY, code_Y = rng.choice(palette, (count, width)), rng.choice(palette, width)
    weights = st.lists(st.integers(0, 8), min_size=len(part_bits), max_size=len(part_bits)).map(tuple)
    comparison = Comparison(draw(weights.filter(any)), draw(weights))
    limits = {
        "k": draw(st.none() | st.integers(1, 100)),
        "max_distance": draw(st.none() | st.integers(0, 60)),
        "excluded_row": draw(st.integers(0, count - 1)) if count and draw(st.booleans()) else None,
    }
    mask_N = rng.random(count) < draw(st.sampled_from([0, 0.1, 0.9])) if draw(st.booleans()) else None
    return codes_NY, code_Y, part_bits, comparison, limits, rng.permutation(count), mask_N


@given(questions(), st.sampled_from(METHODS))
@settings(max_examples=200, deadline=None)
def test_small_indices_answer_as_the_oracle_does(question, method):
    codes_NY, code_Y, part_bits, comparison, limits, ranks_N, mask_N = question
    hits = index_of(codes_NY, part_bits, ranks_N.astype(np.uint32)).search(
        code_Y, limits_of(**limits, mask_N=mask_N), comparison=comparison, method=method
    )
    sums_NP = part_sums(codes_NY, code_Y, part_bits)
    want = first_rows(sums_NP, comparison, ranks_N, **limits, mask_N=mask_N)
    assert weighted_answer(hits) == want
    assert hits.part_distances_KP.tolist() == sums_NP[hits.rows_K].tolist()


@given(questions(), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_bits_with_weights_of_their_own_are_summed_as_numpy_does(question, seed):
    codes_NY, code_Y, part_bits, comparison, limits, ranks_N, mask_N = question
    comparison = Comparison(comparison.weights, (0,) * len(part_bits))
    weights_K = np.random.default_rng(seed).integers(0, 16, sum(part_bits))
    hits = index_of(codes_NY, part_bits, ranks_N.astype(np.uint32)).search_values(
        code_Y, weights_K, limits_of(**limits, mask_N=mask_N), comparison=comparison
    )
    sums_NP = part_sums(codes_NY, code_Y, part_bits, weights_K)
    assert weighted_answer(hits) == first_rows(sums_NP, comparison, ranks_N, **limits, mask_N=mask_N)
    plain_NP = part_sums(codes_NY, code_Y, part_bits)
    assert hits.part_distances_KP.tolist() == plain_NP[hits.rows_K].tolist()


@pytest.fixture(scope="module")
def parted():
    """40,000 codes of 30 kinds, many of which have the same kind bits; their index has tables and centres."""
    rng = np.random.default_rng(4)
    kinds_NY = clustered(40_000, 8, centres=30, flipped=0.05)
    codes_NY = np.concatenate([kinds_NY, clustered(40_000, 24, seed=1, centres=200, flipped=0.05)], axis=1)
    codes_NY[:500] = codes_NY[500]
    codes_NY = rng.permutation(codes_NY)
    ranks_N = rng.permutation(len(codes_NY)).astype(np.uint32)
    arrays = joined(separate(build_arrays(codes_NY, ranks_N, (64, 192))))
    assert arrays.tables.starts_TP.size
    assert len(arrays.blocks.centres_CV) > 1
    return codes_NY, ranks_N, arrays


@pytest.mark.parametrize("comparison", [KIND, LOOK, *BOTH[1:9:2]])
def test_every_way_answers_as_the_oracle_does(parted, comparison):
    codes_NY, ranks_N, arrays = parted
    index, rng = CodeIndex(arrays), np.random.default_rng(2)
    scattered_N, narrow_N = rng.random(len(codes_NY)) < 0.3, np.zeros(len(codes_NY), bool)
    narrow_N[9000:10_000] = True
    limits = [{"k": 1}, {"k": 700}, {"k": None, "max_distance": 12}, {"k": 5, "max_distance": 30}]
    for number, limit in enumerate(limits):
        row = 997 * number
        sums_NP = part_sums(codes_NY, codes_NY[row], (64, 192))
        for mask_N in (None, scattered_N, narrow_N):
            for excluded_row in (None, row):
                more = {"mask_N": mask_N, "excluded_row": excluded_row}
                want = first_rows(sums_NP, comparison, ranks_N, **limit, **more)
                for method in METHODS:
                    hits = index.search(
                        codes_NY[row], limits_of(**limit, **more), comparison=comparison, method=method
                    )
                    assert weighted_answer(hits) == want, (limit, excluded_row, method)


def test_kind_alone_is_found_by_multi_index_hashing_and_most_blocks_are_ruled_out(parted):
    codes_NY, _, arrays = parted
    index = CodeIndex(arrays)
    hits = index.search(codes_NY[9], Limits(10), comparison=KIND)
    assert (hits.method, hits.codes_compared < 4000) == ("mih", True)
    hits = index.search(codes_NY[9], Limits(10), comparison=BOTH[3])
    assert (hits.method, hits.codes_compared < 20_000) == ("scan", True)


def test_bit_weights_answer_as_the_oracle_does_over_blocks(parted):
    codes_NY, ranks_N, arrays = parted
    weights_K = np.random.default_rng(3).integers(0, 16, 256)
    sums_NP = part_sums(codes_NY, codes_NY[11], (64, 192), weights_K)
    for limit in ({"k": 20}, {"k": None, "max_distance": 400}):
        hits = CodeIndex(arrays).search_values(codes_NY[11], weights_K, Limits(**limit), comparison=BOTH[3])
        assert weighted_answer(hits) == first_rows(sums_NP, BOTH[3], ranks_N, **limit)


def test_threads_shards_and_batches_change_nothing(parted):
    codes_NY, ranks_N, arrays = parted
    queries_QY = codes_NY[[3, 4000, 17]]
    for comparison in (KIND, LOOK, BOTH[3]):
        wants = [
            first_rows(part_sums(codes_NY, code_Y, (64, 192)), comparison, ranks_N, 300)
            for code_Y in queries_QY
        ]
        batch = CodeIndex(arrays, threads=2).search_batch(
            queries_QY, [Limits(300)] * len(queries_QY), comparison=comparison
        )
        assert [weighted_answer(hits) for hits in batch] == wants
        merged = []
        for first, last in ((0, 1), (1, 9000), (9000, 40_000)):
            hits = index_of(codes_NY[first:last], (64, 192), ranks_N[first:last]).search(
                queries_QY[0], Limits(300), comparison=comparison
            )
            rows = hits.rows_K + first
            merged += zip(
                hits.distances_K.tolist(),
                hits.ties_K.tolist(),
                ranks_N[rows].tolist(),
                rows.tolist(),
                strict=True,
            )
        assert [row for *_, row in sorted(merged)[:300]] == wants[0][0]


@pytest.mark.parametrize("comparison", [KIND, LOOK, *BOTH[1:9:2]])
@pytest.mark.parametrize(
    "limits", [{"k": 1}, {"k": 700}, {"k": 40, "max_distance": 90}, {"k": None, "max_distance": 60}]
)
def test_a_batch_that_reads_blocks_together_answers_as_the_oracle_does(parted, comparison, limits):
    codes_NY, ranks_N, arrays = parted
    different_UY, counts_U = np.unique(codes_NY, axis=0, return_counts=True)
    equal = np.flatnonzero((codes_NY == different_UY[counts_U.argmax()]).all(axis=1))
    rows = [3, 4000, 17, 39_999, 5, *equal[:2].tolist(), 20_000, 77, 9, 30_001] * 2
    excluded = [None, 4000, 17, None, 5, int(equal[1]), *[None] * 5] * 2  # more than a group
    wants = [
        first_rows(
            part_sums(codes_NY, codes_NY[row], (64, 192)), comparison, ranks_N, **limits, excluded_row=out
        )
        for row, out in zip(rows, excluded, strict=True)
    ]
    for threads in (1, 2, 3):
        batch = CodeIndex(arrays, threads).search_batch(
            codes_NY[rows],
            [limits_of(**limits, excluded_row=row) for row in excluded],
            comparison=comparison,
        )
        assert [weighted_answer(hits) for hits in batch] == wants


def test_pages_of_any_size_are_one_answer(parted):
    codes_NY, _, arrays = parted
    whole = CodeIndex(arrays).search(codes_NY[5], Limits(400), comparison=KIND)
    for k in (1, 7, 64, 65, 128, 399):
        hits = CodeIndex(arrays).search(codes_NY[5], Limits(k), comparison=KIND)
        assert hits.rows_K.tolist() == whole.rows_K[:k].tolist()


def test_a_table_of_equal_codes_is_answered_in_little_memory():
    codes_NY = np.full((100_000, 32), 9, np.uint8)
    index = index_of(codes_NY, (64, 192))
    assert index.distinct_codes == 1
    for comparison in (KIND, BOTH[1]):
        hits = index.search(codes_NY[0], Limits(4), comparison=comparison)
        assert (hits.rows_K.tolist(), hits.ties_at_cutoff) == ([0, 1, 2, 3], 99_996)


def test_blocks_hold_each_row_once_between_the_distances_that_they_state():
    rng = np.random.default_rng(8)
    codes_WN = rng.integers(0, 2**64, (4, 30_000), np.uint64)
    blocks = build_blocks(codes_WN, 2)
    assert sorted(blocks.rows_U.tolist()) == list(range(30_000))
    assert (blocks.codes_WU == codes_WN[:, blocks.rows_U]).all()
    sizes_B = np.diff(blocks.starts_B)
    apart_U = np.bitwise_count(
        blocks.codes_WU[:2] ^ np.repeat(blocks.centres_CV[blocks.centres_B], sizes_B, axis=0).T
    ).sum(axis=0)
    assert (np.repeat(blocks.nearest_B, sizes_B) <= apart_U).all()
    assert (np.repeat(blocks.farthest_B, sizes_B) >= apart_U).all()


def test_several_examples_are_compared_by_parts(parted):
    codes_NY, ranks_N, arrays = parted
    for comparison in (KIND, LOOK, BOTH[3]):
        sums_NP = sum(3 * part_sums(codes_NY, codes_NY[row], (64, 192)) for row in (1, 2)) - sum(
            2 * part_sums(codes_NY, codes_NY[row], (64, 192)) for row in (3, 4, 5)
        )
        hits = search_examples(
            CodeIndex(arrays),
            Examples(codes_NY[[1, 2]], codes_NY[[3, 4, 5]]),
            Limits(50, 2.0),
            comparison=comparison,
        )
        rows, distances, ties, *rest = first_rows(sums_NP, comparison, ranks_N, 50, 12)
        assert hits.rows_K.tolist() == rows
        assert hits.distances_K.tolist() == pytest.approx(np.array(distances) / 6)
        assert hits.ties_K.tolist() == pytest.approx(np.array(ties) / 6)
        assert hits.part_distances_KP == pytest.approx(sums_NP[rows] / 6)
        assert [hits.ties_at_cutoff, hits.within] == rest


def test_one_part_may_count_more_than_once():
    codes_NY = clustered(300, 4)
    index = CodeIndex(build_arrays(codes_NY))
    comparison = Comparison((3,), (2,))
    hits = index.search(codes_NY[0], Limits(9, 20), comparison=comparison)
    want = first_rows(part_sums(codes_NY, codes_NY[0], (32,)), comparison, np.arange(300), 9, 20)
    assert weighted_answer(hits) == want


def test_says_what_does_not_fit():
    codes_NY = clustered(5, 4)
    for part_bits in ((8, 8), (12, 20), (0, 32), (64,)):
        with pytest.raises(ValueError, match="whole bytes"):
            build_arrays(codes_NY, None, part_bits)
    index = index_of(codes_NY, (8, 24))
    with pytest.raises(ValueError, match="2 parts"):
        index.search(codes_NY[0], Limits(1), comparison=Comparison((1,), (0,)))
    for weights, ties in (((1,), (0, 0)), ((0, 0), (1, 0)), ((9, 1), (0, 0)), ((1, 1), (-1, 0))):
        with pytest.raises(ValueError, match="weight"):
            Comparison(weights, ties)
    for weights_K in (np.ones(31, int), np.full(32, 16), np.full(32, -1)):
        with pytest.raises(ValueError, match="0 to 15"):
            index.search_values(codes_NY[0], weights_K, Limits(1))
    with pytest.raises(ValueError, match="too large together"):
        index_of(clustered(5, 128), (512, 512)).search_values(
            clustered(1, 128)[0], np.full(1024, 15), Limits(1), comparison=Comparison((8, 8), (8, 8))
        )
