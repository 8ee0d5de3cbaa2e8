"""Several examples, for and against: rows by mean distance to the first less mean distance to the second.

Every code is compared. Sums are kept whole, so that two rows tie exactly when their means do.

Shapes: E examples, Y bytes a code, W words, M rows compared, K rows of the answer, P parts.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.hamming.answer import Hits
from pipelines.hamming.bit_order import words_of
from pipelines.hamming.code_index import CodeIndex, Codes
from pipelines.hamming.comparison import Comparison
from pipelines.hamming.found import Int64s
from pipelines.hamming.intrinsics import popcount
from pipelines.hamming.kernels import Words, compiled
from pipelines.hamming.parted import part_distances
from pipelines.hamming.scan import BLOCK
from pipelines.hamming.selection import EVERY_ROW, Selection, rows_of

MOST_EXAMPLES = 100
"""Of each kind."""


def search_examples(
    index: CodeIndex,
    positives_EY: Codes,
    negatives_EY: Codes,
    k: int | None,
    max_distance: float | None = None,
    *,
    comparison: Comparison | None = None,
    excluded_rows: Sequence[int] = (),
    selection: Selection = EVERY_ROW,
) -> Hits:
    """Return the ``k`` first rows by mean distance to the positives less mean distance to the negatives.

    Distances are those of ``comparison``; None: each bit counts once. The hits' distances, ties and part
    distances are such differences: not whole numbers, perhaps negative; ``max_distance`` too. Raises
    ValueError unless there are 1 to `MOST_EXAMPLES` positives and no more than so many negatives.
    """
    positives, negatives = len(positives_EY), len(negatives_EY)
    if not 1 <= positives <= MOST_EXAMPLES or negatives > MOST_EXAMPLES:
        raise ValueError(f"give 1 to {MOST_EXAMPLES} positive and up to {MOST_EXAMPLES} negative examples")
    comparison = index.checked(comparison, k, None)
    divisor = positives * max(1, negatives)
    weights_E = np.repeat([max(1, negatives), -positives], [positives, negatives])
    examples_EW = index.words(np.concatenate([positives_EY, negatives_EY]))
    # a key is distance * scale + tie, and ties, negative ones too, are less than half the scale
    scale = 2 * divisor * comparison.ties(index.part_bits)
    key_weights = np.array(comparison.weights) * scale + np.array(comparison.tie_weights)
    weights_W = np.repeat(key_weights, [words_of([bits]) for bits in index.part_bits])
    rows_M = _candidates(index, excluded_rows, selection)
    every_row = rows_M.size == len(index)
    codes_WM = index.arrays.codes_WN if every_row else np.ascontiguousarray(index.arrays.codes_WN[:, rows_M])
    keys_M = _weighted_sums(codes_WM, examples_EW, weights_E, weights_W)
    distances_M = (keys_M + scale // 2) // scale
    places = np.arange(rows_M.size)
    if max_distance is not None:
        places = np.flatnonzero(distances_M <= max_distance * divisor)
    within = places.size
    if k is not None and k < within:  # all that tie with the last of the first k stay
        places = places[keys_M[places] <= np.partition(keys_M[places], k - 1)[k - 1]]
    ranks_N = index.arrays.ranks_N
    ranks = ranks_N[rows_M[places]] if ranks_N.size else rows_M[places]
    places_K = places[np.lexsort((ranks, keys_M[places]))][:k]
    ties_K = keys_M[places_K] - distances_M[places_K] * scale
    last = None if not places_K.size else places_K[-1]
    weighed = zip(examples_EW, weights_E, strict=True)
    codes_WK = index.arrays.codes_WN[:, rows_M[places_K]]
    parts_KP = sum(weight * part_distances(codes_WK, code_W, index.part_bits) for code_W, weight in weighed)
    return Hits(
        rows_M[places_K],
        distances_M[places_K] / divisor,
        ties_K / divisor,
        parts_KP / divisor,
        None if last is None else float(distances_M[last] / divisor),
        0
        if last is None
        else int((keys_M[places] == keys_M[last]).sum() - (keys_M[places_K] == keys_M[last]).sum()),
        None if max_distance is None else within,
        "scan",
        rows_M.size,
    )


def _candidates(index: CodeIndex, excluded_rows: Sequence[int], selection: Selection) -> Int64s:
    """Return the rows that may be answers."""
    rows_M = rows_of(selection) if selection.verdicts_B.size else np.arange(len(index))
    return rows_M[~np.isin(rows_M, np.array(excluded_rows, np.int64))]


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
