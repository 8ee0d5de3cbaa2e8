"""Several examples, for and against: rows by mean distance to the first less mean distance to the second.

Every code is compared. Sums are kept whole, so that two rows tie exactly when their means do.

Shapes: E examples, Y bytes a code, W words, U groups, R rows near enough, K rows of the answer.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.index.answer import Hits
from pipelines.index.codes import CodeIndex, Codes, part_distances
from pipelines.index.comparison import Comparison
from pipelines.index.ordered import Compared, first_hits
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
    divisor = positives * max(1, negatives)
    weights_E = np.repeat([max(1, negatives), -positives], [positives, negatives])
    examples_EW = index.words(np.concatenate([positives_EY, negatives_EY]))
    comparison = index.checked(comparison, k, None)
    rows_M = rows_of(selection) if selection.verdicts_B.size else np.arange(len(index))
    rows_M = rows_M[~np.isin(rows_M, np.array(excluded_rows, np.int64))]
    sums_MP = np.zeros((rows_M.size, len(index.part_bits)), np.int64)
    for example_W, weight in zip(examples_EW, weights_E, strict=True):
        sums_MP += weight * part_distances(index.arrays, example_W)[rows_M]
    ranks_M = index.arrays.ranks_N[rows_M] if index.arrays.ranks_N.size else rows_M
    compared = Compared(
        rows_M, sums_MP @ np.array(comparison.weights), sums_MP @ np.array(comparison.tie_weights), sums_MP
    )
    hits = first_hits(compared, ranks_M, k, None if max_distance is None else max_distance * divisor)
    return replace(
        hits,
        distances_K=hits.distances_K / divisor,
        ties_K=hits.ties_K / divisor,
        part_distances_KP=hits.part_distances_KP / divisor,
        kth_distance=None if hits.kth_distance is None else hits.kth_distance / divisor,
    )
