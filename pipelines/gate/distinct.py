"""How many different strings there are in a stream, in bounded memory."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_KEPT = 1 << 16


class DistinctCount:
    """Exact up to 65 536 different strings, beyond that an estimate to .4 % (one standard deviation).

    The k least of evenly spread hashes say how dense they lie (Bar-Yossef et al., 2002, "Counting distinct
    elements in a data stream"). Python's own hash of strings is evenly spread, and another in each process.
    """

    def __init__(self) -> None:
        self._least = np.empty(0, np.uint64)

    def add(self, strings: pa.Array) -> None:
        """Count these too."""
        fresh = np.fromiter(map(hash, pc.unique(strings).to_pylist()), np.int64).view(np.uint64)
        self._least = np.unique(np.concatenate([self._least, fresh]))[:_KEPT]

    def count(self) -> int:
        """Return how many different strings there were."""
        if len(self._least) < _KEPT:
            return len(self._least)
        return round((_KEPT - 1) / (float(self._least[-1]) / 2**64))
