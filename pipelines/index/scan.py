"""Comparing queries with every code, a block at a time: only a block with something near is gone over twice.

Shapes: Q queries, U groups of W words, N rows, S = ceil(N / 64), M items, B codes or blocks.
"""

import numpy as np

from pipelines.index.found import Found, Int64s, keep
from pipelines.index.groups import Groups, UInt32s, weight_of
from pipelines.index.intrinsics import popcount
from pipelines.index.kernels import Words, compiled, distances, least_distance, signed
from pipelines.index.selection import ROWS

BLOCK = 2048
"""Codes in a block: they and their distances stay in the first-level cache, for all queries of a batch."""
_EVERY_ROW = np.empty(0, np.uint64)


@compiled
def scan_groups(
    groups: Groups,
    first: int,
    last: int,
    queries_QW: Words,
    k: int,
    radius: int,
    excluded_Q: Int64s,
    found: Found,
    items_M3: Int64s,
) -> Int64s:
    """Compare groups ``first`` to ``last`` with each query; return ``items_M3``: (query, distance, group).

    All rows are counted up to ``radius``, which is negative where only those within the limit matter. One row
    of each query's excluded group doesn't count.
    """
    distances_B = np.empty(BLOCK, np.int64)
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        for query in range(queries_QW.shape[0]):
            query_W = queries_QW[query]
            if not _has_near(
                groups.codes_WU, start, end, query_W, found.limits_Q[query], radius, distances_B
            ):
                continue
            for offset in range(end - start):
                if distances_B[offset] <= max(found.limits_Q[query], radius):
                    group = start + offset
                    weight = weight_of(groups, group, -1, excluded_Q[query], _EVERY_ROW)
                    if weight:
                        items_M3 = keep(found, items_M3, query, distances_B[offset], group, weight, k)
    found.totals[1] += (last - first) * queries_QW.shape[0]
    return items_M3


@compiled
def _has_near(
    codes_WU: Words, start: int, end: int, query_W: Words, limit: int, radius: int, distances_B: Int64s
) -> bool:
    """Fill ``distances_B`` and return True, unless all of the block is farther than limit and radius."""
    threshold = max(limit, radius)
    if codes_WU.shape[0] == 1 and least_distance(codes_WU[0], start, end, query_W[0]) > threshold:
        return False
    return bool(distances(codes_WU, start, end, query_W, distances_B) <= threshold)


@compiled
def scan_rows(
    codes_WN: Words,
    selected_S: Words,
    blocks_B: UInt32s,
    query_W: Words,
    k: int,
    radius: int,
    excluded_row: int,
    found: Found,
    items_M3: Int64s,
) -> Int64s:
    """Compare the selected rows of some blocks of `ROWS` rows; return ``items_M3``: (0, distance, row)."""
    distances_B = np.empty(64, np.int64)
    compared = 0
    for block in blocks_B:
        first_word = signed(block) * (ROWS // 64)
        for word in range(first_word, min(first_word + ROWS // 64, selected_S.size)):
            selected = selected_S[word]
            if not selected:
                continue
            start = word * 64
            end = min(start + 64, codes_WN.shape[1])
            compared += popcount(selected)
            if not _has_near(codes_WN, start, end, query_W, found.limits_Q[0], radius, distances_B):
                continue
            for offset in range(end - start):
                row, near = start + offset, distances_B[offset] <= max(found.limits_Q[0], radius)
                if near and (selected >> np.uint64(offset)) & np.uint64(1) and row != excluded_row:
                    items_M3 = keep(found, items_M3, 0, distances_B[offset], row, 1, k)
    found.totals[1] += compared
    return items_M3
