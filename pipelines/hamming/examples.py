"""Search by several examples: by the mean distance to positives less the mean distance to negatives.

Every code is compared. Sums stay whole numbers, so that rows tie exactly when their means do.

Shapes: E examples, Y bytes a code, W words, M rows compared, K rows of the answer, P parts.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.answer import Hits
from pipelines.hamming.bit_order import words_of
from pipelines.hamming.code_index import CodeIndex, Examples
from pipelines.hamming.comparison import Comparison
from pipelines.hamming.jit import Int64s, Words, compiled
from pipelines.hamming.limits import Limits
from pipelines.hamming.parted import part_distances
from pipelines.hamming.row_filter import PASS_ALL, rows_of
from pipelines.hamming.scan import BLOCK
from pipelines.hamming.simd import popcount

MOST_EXAMPLES = 100
"""Of positives, and of negatives."""


def search_examples(
    index: CodeIndex, examples: Examples, limits: Limits, *, comparison: Comparison | None = None
) -> Hits:
    """Return the first rows by mean distance to the positives less mean distance to the negatives.

    ``comparison`` gives the distances; None: each bit counts once. The greatest distance and the hits'
    distances, ties and part distances are differences of means: fractions, perhaps negative. Raises
    ValueError unless there are 1 to `MOST_EXAMPLES` positives and at most `MOST_EXAMPLES` negatives.
    """
    k, max_distance = limits.k, limits.max_distance
    positives, negatives = (len(codes_EY) for codes_EY in examples)
    if not 1 <= positives <= MOST_EXAMPLES or negatives > MOST_EXAMPLES:
        raise ValueError(f"give 1 to {MOST_EXAMPLES} positive and up to {MOST_EXAMPLES} negative examples")
    comparison = index.checked(comparison, replace(limits, max_distance=None))
    divisor = positives * max(1, negatives)
    weights_E = np.repeat([max(1, negatives), -positives], [positives, negatives])
    examples_EW = index.words(np.concatenate(examples))
    # a key is distance * scale + tie, and ties, negative ones too, are less than half the scale
    scale = 2 * divisor * comparison.ties(index.part_bits)
    key_weights = np.array(comparison.weights) * scale + np.array(comparison.tie_weights)
    weights_W = np.repeat(key_weights, [words_of([bits]) for bits in index.part_bits])
    rows_M = _candidates(index, limits)
    every_row = rows_M.size == len(index)
    codes_WM = index.arrays.codes_WN if every_row else np.ascontiguousarray(index.arrays.codes_WN[:, rows_M])
    keys_M = _weighted_sums(codes_WM, examples_EW, weights_E, weights_W)
    distances_M = (keys_M + scale // 2) // scale
    near = np.arange(rows_M.size)
    if max_distance is not None:
        near = np.flatnonzero(distances_M <= max_distance * divisor)
    places_K, left_out = _first_places(index, rows_M, keys_M, near, k)
    ties_K = keys_M[places_K] - distances_M[places_K] * scale
    weighed = zip(examples_EW, weights_E, strict=True)
    codes_WK = index.arrays.codes_WN[:, rows_M[places_K]]
    parts_KP = sum(weight * part_distances(codes_WK, code_W, index.part_bits) for code_W, weight in weighed)
    return Hits(
        rows_M[places_K],
        distances_M[places_K] / divisor,
        ties_K / divisor,
        parts_KP / divisor,
        float(distances_M[places_K[-1]] / divisor) if places_K.size else None,
        left_out,
        None if max_distance is None else near.size,
        "scan",
        rows_M.size,
    )


def _first_places(
    index: CodeIndex, rows_M: Int64s, keys_M: Int64s, near: NDArray[np.integer], k: int | None
) -> tuple[NDArray[np.integer], int]:
    """Return the first k of the ``near`` places in ``rows_M``, and how many more tie with the last."""
    if k is not None and k < near.size:  # all that tie with the k-th stay
        near = near[keys_M[near] <= np.partition(keys_M[near], k - 1)[k - 1]]
    ranks_N = index.arrays.ranks_N
    ranks = ranks_N[rows_M[near]] if ranks_N.size else rows_M[near]
    places_K = near[np.lexsort((ranks, keys_M[near]))][:k]
    if not places_K.size:
        return places_K, 0
    last = keys_M[places_K[-1]]
    return places_K, int((keys_M[near] == last).sum() - (keys_M[places_K] == last).sum())


def _candidates(index: CodeIndex, limits: Limits) -> Int64s:
    """Return the rows that may be answers."""
    row_filter = limits.row_filter
    rows_M = rows_of(row_filter) if row_filter.kind != PASS_ALL else np.arange(len(index))
    return rows_M[~np.isin(rows_M, np.array(limits.excluded_rows, np.int64))]


@compiled
def _weighted_sums(codes_WM: Words, examples_EW: Words, weights_E: Int64s, weights_W: Int64s) -> Int64s:
    """Return for each code the sum over examples and words of weights_E * weights_W * Hamming distance."""
    sums_M = np.zeros(codes_WM.shape[1], np.int64)
    for start in range(0, codes_WM.shape[1], BLOCK):
        end = min(start + BLOCK, codes_WM.shape[1])
        sums_B = sums_M[start:end]
        for word in range(weights_W.size):
            codes_B = codes_WM[word, start:end]
            for example in range(weights_E.size):
                value, weight = examples_EW[example, word], weights_E[example] * weights_W[word]
                for offset in range(end - start):
                    sums_B[offset] += weight * popcount(codes_B[offset] ^ value)
    return sums_M
