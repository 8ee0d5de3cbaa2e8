"""From what a search has found to its answer: rows, nearest first, ties in their order.

Shapes: M items, N rows, K rows of the answer.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.index.found import Int64s
from pipelines.index.groups import Groups, first_row
from pipelines.index.kernels import compiled, signed
from pipelines.index.selection import Selection, UInt32s, is_selected


@dataclass(frozen=True)
class Hits:
    """The answer to one search, nearest first, ties in the order of chip ids."""

    rows_K: Int64s
    distances_K: NDArray[np.int64] | NDArray[np.float64]
    """Bits; differences of means, where there were several examples."""
    kth_distance: float | None
    """Distance of the last hit in bits; None where there is no hit."""
    ties_at_cutoff: int
    """Rows as near as the last hit that k left out."""
    within: int | None
    """Rows within ``max_distance``, k or no k; None where there is no such limit."""
    method: Literal["scan", "mih"]
    """Every code compared, or only those that multi-index hashing can't rule out."""
    codes_compared: int


@compiled
def rows_of_groups(
    groups: Groups,
    ranks_N: UInt32s,
    items_M3: Int64s,
    limit: int,
    k: int,
    excluded_row: int,
    selection: Selection,
) -> tuple[Int64s, Int64s]:
    """Return (rows, distances) of the k first rows of groups at most ``limit`` bits away."""
    total = 0
    for item in range(items_M3.shape[0]):
        if items_M3[item, 1] <= limit:
            group = items_M3[item, 2]
            size = first_row(groups.starts_U, group + 1) - first_row(groups.starts_U, group)
            total += min(size, k)
    found_R3 = np.empty((total, 3), np.int64)
    count = 0
    for item in range(items_M3.shape[0]):
        if items_M3[item, 1] > limit:
            continue
        group = items_M3[item, 2]
        taken = 0
        for place in range(first_row(groups.starts_U, group), first_row(groups.starts_U, group + 1)):
            row = signed(groups.rows_N[place])
            if taken < k and row != excluded_row and is_selected(selection, row):
                found_R3[count, 1], found_R3[count, 2] = items_M3[item, 1], row
                count += 1
                taken += 1
            elif taken == k:
                break
    return first_rows(found_R3[:count], ranks_N, limit, k)


@compiled
def first_rows(found_R3: Int64s, ranks_N: UInt32s, limit: int, k: int) -> tuple[Int64s, Int64s]:
    """Return (rows, distances) of the k first of (query, distance, row) within ``limit``, in order."""
    keys_R = np.empty(found_R3.shape[0], np.int64)
    places_R = np.empty(found_R3.shape[0], np.int64)
    count = 0
    for index in range(found_R3.shape[0]):
        if found_R3[index, 1] <= limit:
            row = found_R3[index, 2]
            keys_R[count] = (found_R3[index, 1] << 32) | (signed(ranks_N[row]) if ranks_N.size else row)
            places_R[count] = index
            count += 1
    order_K = np.argsort(keys_R[:count])[: min(k, count)]
    rows_K, distances_K = np.empty(order_K.size, np.int64), np.empty(order_K.size, np.int64)
    for index in range(order_K.size):
        place = places_R[order_K[index]]
        rows_K[index], distances_K[index] = found_R3[place, 2], found_R3[place, 1]
    return rows_K, distances_K
