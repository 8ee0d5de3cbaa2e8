"""Answers to searches of codes of one part: rows, nearest first, those at the same distance by rank.

Shapes: M items, N rows, R rows found, K rows of the answer, P parts.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.groups import Groups, first_row
from pipelines.hamming.jit import Int64s, Plain, UInt32s, Words, compiled, signed
from pipelines.hamming.multi_index import ProbeState, Query, search_tables
from pipelines.hamming.row_filter import EVERY_ROW, NONE, PASS_ALL, RowFilter, judge_rows
from pipelines.hamming.scan import scan_rows
from pipelines.hamming.tables import Tables
from pipelines.hamming.top_k import ALL, empty_top_k


@dataclass(frozen=True)
class Hits:
    """The answer to one search, in the order of distance, tie and rank."""

    rows_K: Int64s
    distances_K: NDArray[np.int64] | NDArray[np.float64]
    """Weighted sums of bits; of several examples, differences of means."""
    ties_K: NDArray[np.int64] | NDArray[np.float64]
    """Hits at the same distance are in the order of these, then of ranks (`Comparison.tie_weights`)."""
    part_distances_KP: NDArray[np.int64] | NDArray[np.float64]
    """Hamming distance of each part [bits]; of several examples, differences of means."""
    kth_distance: float | None
    """Distance of the last hit; None where there is no hit."""
    ties_at_cutoff: int
    """Rows left out because of k that have the distance and the tie of the last hit."""
    within: int | None
    """Rows within ``max_distance``, whatever k; None where there is no such limit."""
    method: Literal["scan", "mih"]
    """Scan: every code was compared; mih: only those that multi-index hashing can't rule out."""
    codes_compared: int


class Answer(NamedTuple):
    """What a search of codes of one part returns."""

    is_finished: bool
    """False: it was given up as too dear, and has no rows."""
    limit: int
    """Greatest distance that an answer may have, as far as the search has come [bits]."""
    rows_K: Int64s
    distances_K: Int64s
    covered: int
    """Rows within the limit."""
    within: int
    """Rows within the radius."""
    compared: int
    """Codes compared."""


_Fields = tuple[bool, int, Int64s, Int64s, int, int, int]
"""The fields of `Answer`, as kernels return them."""


@compiled
def answer_by_tables(index: Plain, question: Plain, row_filter: Plain, bits: int, budget: int) -> _Fields:
    """Answer by multi-index hashing, all in one call: each call from Python wraps and unwraps arrays.

    ``index``: groups, tables, bits of a substring, ranks_N. ``question``: `Query` without its filter.
    """
    groups, tables, length, ranks_N = Groups(*index[0]), Tables(*index[1]), index[2], index[3]
    query = Query(RowFilter(*row_filter), *question)
    top_k, items_M3 = empty_top_k(1, query.limit, bits)
    state = ProbeState(groups, tables, length, query, top_k)
    items_M3, finished = search_tables(state, budget, items_M3)
    limit, covered, compared = top_k.limits_Q[0], top_k.covered_Q[0], top_k.totals[1]
    if not finished:
        nothing = np.empty(0, np.int64)
        return False, limit, nothing, nothing, covered, 0, compared
    items_M3 = items_M3[: top_k.totals[0]]
    rows_K, distances_K = rows_of_groups(
        groups, ranks_N, items_M3, limit, query.k, query.excluded_row, query.row_filter
    )
    within = top_k.counts_QD[0, : query.radius + 1].sum()
    return True, limit, rows_K, distances_K, covered, within, compared


@compiled
def answer_by_rows(
    codes_WN: Words, ranks_N: UInt32s, question: Plain, row_filter: Plain, limit: int, bits: int
) -> _Fields:
    """Answer by comparing the rows that may pass a filter. ``question``: `Query` without its filter."""
    query = Query(RowFilter(*row_filter), *question)
    top_k, items_M3 = empty_top_k(1, limit, bits)
    items_M3 = scan_rows(
        codes_WN,
        query.row_filter,
        query.words_W1[:, 0].copy(),  # contiguous: kernels are compiled for each layout
        query.k,
        query.radius,
        query.excluded_row,
        top_k,
        items_M3,
    )
    limit = top_k.limits_Q[0]
    rows_K, distances_K = first_rows(items_M3[: top_k.totals[0]], ranks_N, limit, query.k)
    within = top_k.counts_QD[0, : query.radius + 1].sum()
    return True, limit, rows_K, distances_K, top_k.covered_Q[0], within, top_k.totals[1]


@compiled
def answer_from_groups(
    groups: Plain, ranks_N: UInt32s, items_M3: Int64s, limit: int, k: int, excluded_row: int
) -> tuple[Int64s, Int64s]:
    """Return (rows, distances) of the first k rows, whatever they are, of groups that a scan has found."""
    return rows_of_groups(Groups(*groups), ranks_N, items_M3, limit, k, excluded_row, EVERY_ROW)


@compiled
def rows_of_groups(
    groups: Groups,
    ranks_N: UInt32s,
    items_M3: Int64s,
    limit: int,
    k: int,
    excluded_row: int,
    row_filter: RowFilter,
) -> tuple[Int64s, Int64s]:
    """Return (rows, distances) of the first k rows of groups at most ``limit`` bits away."""
    _, starts_U, rows_N = groups
    is_filtered = row_filter.kind != PASS_ALL
    most = ALL if is_filtered or k == ALL else k + 1  # rows of a group that can be in the answer
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
    if is_filtered:
        count = _drop_filtered(found_R3[:count], row_filter)
    return first_rows(found_R3[:count], ranks_N, limit, k)


@compiled
def _drop_filtered(found_R3: Int64s, row_filter: RowFilter) -> int:
    """Move to the front the rows that pass the filter; return how many these are."""
    verdicts_R = np.empty(found_R3.shape[0], np.uint8)
    judge_rows(row_filter, found_R3[:, 2].copy(), verdicts_R)
    left = 0
    for index in range(found_R3.shape[0]):
        if verdicts_R[index] != NONE:
            found_R3[left, 1], found_R3[left, 2] = found_R3[index, 1], found_R3[index, 2]
            left += 1
    return left


@compiled
def first_rows(found_R3: Int64s, ranks_N: UInt32s, limit: int, k: int) -> tuple[Int64s, Int64s]:
    """Return (rows, distances) of the first k rows within ``limit``; found_R3 is (query, distance, row)."""
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
