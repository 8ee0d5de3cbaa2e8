"""How near a chip is found by chance: what lies farther away than that says nothing.

Shapes: S sampled rows, Y bytes a code, D = greatest distance + 1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.index.comparison import Comparison

SAMPLE = 2048
"""Rows of the sample: those with the least chip ids, which begin with hex digits of a hash."""
_SHARE = 0.01


def chance_distance(
    sample_codes_SY: NDArray[np.uint8], part_bits: Sequence[int], comparison: Comparison
) -> int:
    """Return the least distance that at least 1 % of all pairs of different sampled rows keep within.

    A chip that has nothing to do with the query lies within it with a probability of about .01. Of fewer than
    two rows it is 0.
    """
    rows, greatest = len(sample_codes_SY), comparison.greatest_distance(part_bits)
    counts_D = np.zeros(greatest + 1, np.int64)
    signs = []
    start = 0
    for bits, weight in zip(part_bits, comparison.weights, strict=True):
        bits_SK = np.unpackbits(sample_codes_SY[:, start // 8 : (start + bits) // 8], axis=1)
        signs.append((bits_SK * np.float32(2) - 1, weight))
        start += bits
    for row in range(rows - 1):
        # two codes of +1 and -1 with K bits have the inner product K - 2 * Hamming distance
        distances_S = np.zeros(rows - row - 1, np.int64)
        for signs_SK, weight in signs:
            inner_S = (signs_SK[row + 1 :] @ signs_SK[row]).astype(np.int64)
            distances_S += weight * ((signs_SK.shape[1] - inner_S) // 2)
        counts_D += np.bincount(distances_S, minlength=greatest + 1)
    pairs = rows * (rows - 1) // 2
    return int(np.searchsorted(counts_D.cumsum(), _SHARE * pairs))
