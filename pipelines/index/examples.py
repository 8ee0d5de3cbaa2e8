"""Several examples, for and against: rows by mean distance to the first less mean distance to the second.

Every code is compared. Sums are kept whole, so that two rows tie exactly when their means do.

Shapes: E examples, Y bytes a code, W words, U groups, R rows near enough, K rows of the answer.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.index.answer import Hits
from pipelines.index.codes import CodeIndex, Codes
from pipelines.index.found import Int64s
from pipelines.index.groups import Groups
from pipelines.index.kernels import Words, compiled, distances
from pipelines.index.scan import BLOCK
from pipelines.index.selection import EVERY_ROW, Selection, rows_of

MOST_EXAMPLES = 100
"""Of each kind."""


def search_examples(
    index: CodeIndex,
    positives_EY: Codes,
    negatives_EY: Codes,
    k: int | None,
    max_distance: float | None = None,
    *,
    excluded_rows: Sequence[int] = (),
    selection: Selection = EVERY_ROW,
) -> Hits:
    """Return the ``k`` first rows by mean distance to the positives less mean distance to the negatives.

    The hits' distances are these differences: bits, not whole, perhaps negative; ``max_distance`` too. Raises
    ValueError unless there are 1 to `MOST_EXAMPLES` positives and no more than so many negatives.
    """
    positives, negatives = len(positives_EY), len(negatives_EY)
    if not 1 <= positives <= MOST_EXAMPLES or negatives > MOST_EXAMPLES:
        raise ValueError(f"give 1 to {MOST_EXAMPLES} positive and up to {MOST_EXAMPLES} negative examples")
    divisor = positives * max(1, negatives)
    weights_E = np.repeat([max(1, negatives), -positives], [positives, negatives])
    examples_EW = index.words(np.concatenate([positives_EY, negatives_EY]))
    excluded = np.unique(np.array(excluded_rows, np.int64))
    groups = index.arrays.groups
    if selection.verdicts_B.size:
        rows_R = rows_of(selection)
        groups = _each_alone(index, rows_R[~np.isin(rows_R, excluded)])
    sums_U = _weighted_sums(groups.codes_WU, examples_EW, weights_E)
    farthest = None if max_distance is None else max_distance * divisor
    lost = 0  # excluded rows among those of the groups that are near enough
    if farthest is not None and not selection.verdicts_B.size:
        sums_E = _weighted_sums(index.arrays.codes_WN[:, excluded], examples_EW, weights_E)
        lost = int((sums_E <= farthest).sum())
    near_U = _near_enough(sums_U, None if k is None else k + excluded.size, farthest)
    rows_R, sums_R = _expanded(groups, near_U, sums_U)
    kept_R = ~np.isin(rows_R, excluded)
    rows_R, sums_R = rows_R[kept_R], sums_R[kept_R]
    ranks_N = index.arrays.ranks_N
    order_R = np.lexsort((ranks_N[rows_R] if ranks_N.size else rows_R, sums_R))
    rows_K, sums_K = rows_R[order_R[:k]], sums_R[order_R[:k]]
    kth = sums_K[-1] if sums_K.size else None
    return Hits(
        rows_K,
        sums_K / divisor,
        None if kth is None else float(kth / divisor),
        int((sums_R == kth).sum() - (sums_K == kth).sum()) if sums_K.size else 0,
        None if farthest is None else int(_sizes(groups)[sums_U <= farthest].sum()) - lost,
        "scan",
        sums_U.size,
    )


def _each_alone(index: CodeIndex, rows_R: Int64s) -> Groups:
    """Return a group for each of some rows."""
    codes_WR = np.ascontiguousarray(index.arrays.codes_WN[:, rows_R])
    return Groups(codes_WR, np.empty(0, np.uint32), rows_R.astype(np.uint32))


def _sizes(groups: Groups) -> Int64s:
    if groups.starts_U.size:
        starts_U = groups.starts_U.astype(np.int64)
        return starts_U[1:] - starts_U[:-1]
    return np.ones(groups.rows_N.size, np.int64)


def _near_enough(sums_U: Int64s, k: int | None, farthest: float | None) -> Int64s:
    """Return the groups that hold the k first rows, whatever ties there are, as far as ``farthest``."""
    limit = np.inf if farthest is None else farthest
    if k is not None and k < sums_U.size:
        limit = min(limit, np.partition(sums_U, k - 1)[k - 1])
    return np.flatnonzero(sums_U <= limit)


def _expanded(groups: Groups, near_U: Int64s, sums_U: Int64s) -> tuple[Int64s, Int64s]:
    """Return the rows of groups, and their sums."""
    if not groups.starts_U.size:
        return groups.rows_N[near_U].astype(np.int64), sums_U[near_U]
    sizes_U = _sizes(groups)[near_U]
    offsets_R = np.arange(sizes_U.sum()) - np.repeat(sizes_U.cumsum() - sizes_U, sizes_U)
    places_R = np.repeat(groups.starts_U[near_U].astype(np.int64), sizes_U) + offsets_R
    return groups.rows_N[places_R].astype(np.int64), np.repeat(sums_U[near_U], sizes_U)


@compiled
def _weighted_sums(codes_WU: Words, examples_EW: Words, weights_E: Int64s) -> Int64s:
    """Return the weighted sum of each code's distances to the examples."""
    sums_U = np.zeros(codes_WU.shape[1], np.int64)
    distances_B = np.empty(BLOCK, np.int64)
    for start in range(0, codes_WU.shape[1], BLOCK):
        end = min(start + BLOCK, codes_WU.shape[1])
        for example in range(weights_E.size):
            distances(codes_WU, start, end, examples_EW[example], distances_B)
            for offset in range(end - start):
                sums_U[start + offset] += weights_E[example] * distances_B[offset]
    return sums_U
