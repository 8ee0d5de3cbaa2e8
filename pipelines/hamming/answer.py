"""From what a search has found to its answer: rows, nearest first, ties in their order.

Shapes: M items, N rows, K rows of the answer, P parts.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.found import ALL, Int64s, nothing_found
from pipelines.hamming.groups import Groups, first_row
from pipelines.hamming.kernels import Words, compiled, signed
from pipelines.hamming.multi_index import Query, search_tables
from pipelines.hamming.scan import scan_rows
from pipelines.hamming.selection import NONE, Plain, Selection, UInt32s, ask_rows
from pipelines.hamming.tables import Tables


@dataclass(frozen=True)
class Hits:
    """The answer to one search, in the order of distance, tie and chip id."""

    rows_K: Int64s
    distances_K: NDArray[np.int64] | NDArray[np.float64]
    """Weighted sums of bits; differences of means, where there were several examples."""
    ties_K: NDArray[np.int64] | NDArray[np.float64]
    """What orders hits at the same distance, before their chip ids do (`Comparison.tie_weights`)."""
    part_distances_KP: NDArray[np.int64] | NDArray[np.float64]
    """Hamming distance of each part [bits]; differences of means, where there were several examples."""
    kth_distance: float | None
    """Distance of the last hit; None where there is no hit."""
    ties_at_cutoff: int
    """Rows with the distance and the tie of the last hit that k left out."""
    within: int | None
    """Rows within ``max_distance``, k or no k; None where there is no such limit."""
    method: Literal["scan", "mih"]
    """Every code compared, or only those that multi-index hashing can't rule out."""
    codes_compared: int


Outcome = tuple[bool, int, Int64s, Int64s, int, int, int]
"""Whether the search came to its end, the limit by then, rows_K, distances_K, how many rows are within the
limit, how many within the radius, and how many codes were compared."""


@compiled
def answer_by_tables(index: Plain, question: Plain, selection: Plain, bits: int, budget: int) -> Outcome:
    """Answer by multi-index hashing, all in one call: between two, arrays are wrapped and unwrapped."""
    groups, tables, length, ranks_N = Groups(*index[0]), Tables(*index[1]), index[2], index[3]
    query = Query(Selection(*selection), *question)
    found, items_M3 = nothing_found(1, query.limit, bits)
    items_M3, finished = search_tables(groups, tables, length, query, budget, found, items_M3)
    limit, covered, compared = found.limits_Q[0], found.covered_Q[0], found.totals[1]
    if not finished:
        nothing = np.empty(0, np.int64)
        return False, limit, nothing, nothing, covered, 0, compared
    items_M3 = items_M3[: found.totals[0]]
    rows_K, distances_K = rows_of_groups(
        groups, ranks_N, items_M3, limit, query.k, query.excluded_row, query.selection
    )
    within = found.counts_QD[0, : query.radius + 1].sum()
    return True, limit, rows_K, distances_K, covered, within, compared


@compiled
def answer_by_rows(
    codes_WN: Words, ranks_N: UInt32s, question: Plain, selection: Plain, limit: int, bits: int
) -> Outcome:
    """Answer by comparing what is selected."""
    query = Query(Selection(*selection), *question)
    found, items_M3 = nothing_found(1, limit, bits)
    items_M3 = scan_rows(
        codes_WN,
        query.selection,
        query.words_W1[:, 0].copy(),  # contiguous: kernels are compiled for each layout
        query.k,
        query.radius,
        query.excluded_row,
        found,
        items_M3,
    )
    limit = found.limits_Q[0]
    rows_K, distances_K = first_rows(items_M3[: found.totals[0]], ranks_N, limit, query.k)
    within = found.counts_QD[0, : query.radius + 1].sum()
    return True, limit, rows_K, distances_K, found.covered_Q[0], within, found.totals[1]


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
    _, starts_U, rows_N = groups
    some_are_selected = selection.verdicts_B.size > 0
    most = ALL if some_are_selected or k == ALL else k + 1  # rows of a group that can be in the answer
    total = 0
    for item in range(items_M3.shape[0]):
        if items_M3[item, 1] <= limit:
            group = items_M3[item, 2]
            total += min(first_row(starts_U, group + 1) - first_row(starts_U, group), most)
    found_R3 = np.empty((total, 3), np.int64)
    count = 0
    for item in range(items_M3.shape[0]):
        if items_M3[item, 1] > limit:
            continue
        group = items_M3[item, 2]
        first = first_row(starts_U, group)
        for place in range(first, first + min(first_row(starts_U, group + 1) - first, most)):
            found_R3[count, 1], found_R3[count, 2] = items_M3[item, 1], rows_N[place]
            count += found_R3[count, 2] != excluded_row
    if some_are_selected:
        count = _drop_unselected(found_R3[:count], selection)
    return first_rows(found_R3[:count], ranks_N, limit, k)


@compiled
def _drop_unselected(found_R3: Int64s, selection: Selection) -> int:
    """Move to the front what is selected; return how many rows are."""
    verdicts_R = np.empty(found_R3.shape[0], np.uint8)
    ask_rows(selection, found_R3[:, 2].copy(), verdicts_R)
    left = 0
    for index in range(found_R3.shape[0]):
        if verdicts_R[index] != NONE:
            found_R3[left, 1], found_R3[left, 2] = found_R3[index, 1], found_R3[index, 2]
            left += 1
    return left


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
