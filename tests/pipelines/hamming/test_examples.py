"""Several examples against plain numpy, means compared as fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.hamming.arrays import build_arrays
from pipelines.hamming.code_index import CodeIndex, Examples
from pipelines.hamming.examples import search_examples
from pipelines.hamming.limits import Limits
from pipelines.hamming.row_filter import EVERY_ROW, filter_by_mask


def mean_distance(code_Y, examples_EY):
    total = int(np.bitwise_count(examples_EY ^ code_Y).sum())
    return Fraction(total, max(1, len(examples_EY)))


@st.composite
def questions(draw):
    num_bytes, num_codes = draw(st.sampled_from([1, 2, 8, 9])), draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    palette = rng.integers(0, 256, draw(st.integers(1, 3)), np.uint8)
    codes_NY, positives_EY, negatives_EY = (
        rng.choice(palette, (count, num_bytes))
        for count in (num_codes, draw(st.integers(1, 4)), draw(st.integers(0, 3)))
    )
    excluded = draw(st.lists(st.integers(0, num_codes - 1), max_size=4)) if num_codes else []
    mask_N = rng.random(num_codes) < 0.5 if draw(st.booleans()) else None
    return codes_NY, positives_EY, negatives_EY, excluded, mask_N, rng.permutation(num_codes)


@given(questions(), st.none() | st.integers(1, 50), st.none() | st.sampled_from([-2.5, 0.0, 1.5, 4.0]))
@settings(max_examples=200, deadline=None)
def test_the_answer_is_the_oracles(question, k, max_distance):
    codes_NY, positives_EY, negatives_EY, excluded, mask_N, ranks_N = question
    scores = [mean_distance(code, positives_EY) - mean_distance(code, negatives_EY) for code in codes_NY]
    wanted = [
        row
        for row, score in enumerate(scores)
        if row not in excluded
        and (mask_N is None or mask_N[row])
        and (max_distance is None or score <= max_distance)
    ]
    wanted.sort(key=lambda row: (scores[row], ranks_N[row]))
    hits = search_examples(
        CodeIndex(build_arrays(codes_NY, ranks_N.astype(np.uint32))),
        Examples(positives_EY, negatives_EY),
        Limits(k, max_distance, excluded, EVERY_ROW if mask_N is None else filter_by_mask(mask_N)),
    )
    assert hits.rows_K.tolist() == wanted[:k]
    assert hits.distances_K.tolist() == [pytest.approx(float(scores[row])) for row in wanted[:k]]
    assert hits.within == (None if max_distance is None else len(wanted))
    last = scores[wanted[:k][-1]] if wanted else None
    assert hits.ties_at_cutoff == sum(scores[row] == last for row in wanted[len(wanted[:k]) :])


def test_one_example_is_an_ordinary_search():
    codes_NY = np.random.default_rng(0).integers(0, 256, (500, 8), np.uint8)
    index = CodeIndex(build_arrays(codes_NY))
    alone = search_examples(index, Examples(codes_NY[:1], codes_NY[:0]), Limits(20))
    assert alone.rows_K.tolist() == index.search(codes_NY[0], Limits(20)).rows_K.tolist()


def test_says_how_many_examples_are_taken():
    codes_NY = np.zeros((101, 8), np.uint8)
    index = CodeIndex(build_arrays(codes_NY))
    for positives, negatives in ((0, 1), (101, 0), (1, 101)):
        with pytest.raises(ValueError, match="1 to 100 positive"):
            search_examples(index, Examples(codes_NY[:positives], codes_NY[:negatives]), Limits(1))
