"""Exact Hamming search over packed codes: compare all, cut by a histogram of distances, sort what is left.

Shapes: N codes, Y bytes a code, W = ceil(Y / 8) words of 64 bits, M hits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
"""Packed codes_NY, as in the code table."""


@dataclass(frozen=True)
class Hits:
    """The answer to one search, nearest first, ties by row."""

    rows_M: NDArray[np.intp]
    distances_M: NDArray[np.uint16]
    """Bits, 0..8 * Y."""
    kth_distance: int | None
    """Distance of the last hit in bits; None where there is no hit."""
    ties_at_cutoff: int
    """Rows as near as the last hit that k left out."""
    within: int
    """Rows within ``max_distance``, k or no k; all that were compared where it is None."""


class CodeIndex:
    """Codes in memory. Row numbers are the tie order: whoever builds it orders the rows by chip id."""

    def __init__(self, codes_NY: Codes) -> None:
        """Copy the codes into words. Raises ValueError unless they are uint8 of at least one byte each."""
        if codes_NY.ndim != 2 or codes_NY.dtype != np.uint8 or not codes_NY.shape[1]:
            raise ValueError(f"codes must be uint8 of shape (N, Y), not {codes_NY.dtype} {codes_NY.shape}")
        self.bits = codes_NY.shape[1] * 8
        # one row of words a column of codes: each step of the scan then reads memory in order
        self._words_WN = np.ascontiguousarray(_words(codes_NY).T)

    def __len__(self) -> int:
        return int(self._words_WN.shape[1])

    def code(self, row: int) -> Codes:
        """Return a row's code_Y."""
        words_W = np.ascontiguousarray(self._words_WN[:, row])
        return words_W.view(np.uint8)[: self.bits // 8]

    def count_distinct(self) -> int:
        """Return how many different codes there are."""
        if not len(self):
            return 0
        sorted_WN = self._words_WN[:, np.lexsort(self._words_WN)]
        return 1 + int(np.count_nonzero((sorted_WN[:, 1:] != sorted_WN[:, :-1]).any(axis=0)))

    def search(
        self, code_Y: Codes, k: int | None, max_distance: int | None, excluded_row: int | None = None
    ) -> Hits:
        """Return the ``k`` nearest rows among those within ``max_distance`` bits; None: no such limit.

        ``excluded_row`` isn't compared. Raises ValueError where the code isn't as long as the index's,
        or a limit is negative.
        """
        if code_Y.shape != (self.bits // 8,):
            raise ValueError(f"the code has {code_Y.size * 8} bits, the index {self.bits}")
        if (k or 0) < 0 or (max_distance or 0) < 0:
            raise ValueError(f"k ({k}) and max_distance ({max_distance}) can't be negative")
        distances_N = self._distances(code_Y)
        if excluded_row is not None:
            distances_N[excluded_row] = self.bits + 1
        radius = self.bits if max_distance is None else min(max_distance, self.bits)
        counts_D = np.bincount(distances_N, minlength=self.bits + 2)
        nearer_D = np.cumsum(counts_D[: radius + 1])  # rows at each distance or nearer
        within = int(nearer_D[-1])
        wanted = within if k is None else min(k, within)
        if not wanted:
            return Hits(np.empty(0, np.intp), np.empty(0, np.uint16), None, 0, within)
        kth_distance = int(np.searchsorted(nearer_D, wanted))
        selected_M = np.flatnonzero(distances_N <= kth_distance)
        rows_M = selected_M[np.argsort(distances_N[selected_M], kind="stable")[:wanted]]
        ties = int(nearer_D[kth_distance]) - wanted
        return Hits(rows_M, distances_N[rows_M], kth_distance, ties, within)

    def _distances(self, code_Y: Codes) -> NDArray[np.uint16]:
        query_W = _words(code_Y[None])[0]
        distances_N = np.zeros(len(self), np.uint16)
        for words_N, query in zip(self._words_WN, query_W, strict=True):
            distances_N += np.bitwise_count(words_N ^ query)
        return distances_N


def _words(codes_NY: Codes) -> NDArray[np.uint64]:
    """Return words_NW: the bytes, with zeros up to a whole word, which add nothing to any distance."""
    padded_NY = np.pad(codes_NY, ((0, 0), (0, -codes_NY.shape[1] % 8)))
    return padded_NY.view(np.uint64)
