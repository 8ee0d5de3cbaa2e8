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
    codes_WU, limits_Q = groups.codes_WU, found.limits_Q  # each access to a field counts references
    distances_B, near_B2 = np.empty(BLOCK, np.int64), np.empty((BLOCK, 2), np.int64)
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        block_B = codes_WU[0, start:end]
        for query in range(queries_QW.shape[0]):
            farthest = max(limits_Q[query], radius)
            if codes_WU.shape[0] == 1 and least_distance(block_B, queries_QW[query, 0]) > farthest:
                continue
            near = _find_near(codes_WU, start, end, queries_QW[query], farthest, distances_B, near_B2)
            for index in range(near):
                bits, group = near_B2[index, 0], start + near_B2[index, 1]
                if bits <= max(limits_Q[query], radius):
                    weight = weight_of(groups, group, -1, excluded_Q[query], _EVERY_ROW)
                    if weight:
                        items_M3 = keep(found, items_M3, query, bits, group, weight, k)
    found.totals[1] += (last - first) * queries_QW.shape[0]
    return items_M3


@compiled
def _find_near(
    codes_WU: Words,
    start: int,
    end: int,
    query_W: Words,
    farthest: int,
    distances_B: Int64s,
    near_B2: Int64s,
) -> int:
    """Fill ``near_B2`` with (distance, offset) of the codes that are near enough; return how many are."""
    if distances(codes_WU, start, end, query_W, distances_B) > farthest:
        return 0
    near = 0
    for offset in range(end - start):
        if distances_B[offset] <= farthest:
            near_B2[near, 0], near_B2[near, 1] = distances_B[offset], offset
            near += 1
    return near


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
    limits_Q = found.limits_Q
    distances_B, near_B2 = np.empty(64, np.int64), np.empty((64, 2), np.int64)
    compared = 0
    for block in blocks_B:
        first_word = signed(block) * (ROWS // 64)
        for word in range(first_word, min(first_word + ROWS // 64, selected_S.size)):
            selected = selected_S[word]
            if not selected:
                continue
            compared += popcount(selected)
            start, end = word * 64, min(word * 64 + 64, codes_WN.shape[1])
            farthest = max(limits_Q[0], radius)
            near = _find_near(codes_WN, start, end, query_W, farthest, distances_B, near_B2)
            for index in range(near):
                bits, offset = near_B2[index, 0], near_B2[index, 1]
                wanted = (selected >> np.uint64(offset)) & np.uint64(1) and start + offset != excluded_row
                if wanted and bits <= max(limits_Q[0], radius):
                    items_M3 = keep(found, items_M3, 0, bits, start + offset, 1, k)
    found.totals[1] += compared
    return items_M3
