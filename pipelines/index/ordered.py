"""The answer from what is known of every row: in plain numpy, whatever the comparison.

Shapes: M rows, K rows of the answer, P parts, W words.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.index.answer import Hits
from pipelines.index.found import Int64s


@dataclass(frozen=True)
class Compared:
    """Rows and how far away each is."""

    rows_M: Int64s
    distances_M: NDArray[np.int64] | NDArray[np.float64]
    ties_M: NDArray[np.int64] | NDArray[np.float64]
    part_distances_MP: NDArray[np.int64] | NDArray[np.float64]


def first_hits(
    compared: Compared, ranks_M: NDArray[np.integer], k: int | None, farthest: float | None
) -> Hits:
    """Return the ``k`` first rows by (distance, tie, rank) among those within ``farthest``."""
    near_M = np.ones(len(compared.rows_M), bool) if farthest is None else compared.distances_M <= farthest
    places = np.flatnonzero(near_M)
    order = np.lexsort((ranks_M[places], compared.ties_M[places], compared.distances_M[places]))
    places_K = places[order[:k]]
    distances_K, ties_K = compared.distances_M[places_K], compared.ties_M[places_K]
    tied = 0
    if places_K.size:
        equal_M = (compared.distances_M == distances_K[-1]) & (compared.ties_M == ties_K[-1]) & near_M
        tied = int(equal_M.sum() - ((distances_K == distances_K[-1]) & (ties_K == ties_K[-1])).sum())
    return Hits(
        compared.rows_M[places_K],
        distances_K,
        ties_K,
        compared.part_distances_MP[places_K],
        distances_K[-1].item() if places_K.size else None,
        tied,
        None if farthest is None else len(places),
        "scan",
        len(compared.rows_M),
    )
