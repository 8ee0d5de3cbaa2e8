"""Comparing queries with every code, a block at a time: only a block with something near is gone over twice.

Shapes: Q queries, U groups of W words, N rows, M items, B codes of a block.
"""

import numpy as np

from pipelines.index.found import Found, Int64s, keep
from pipelines.index.groups import Groups, weight_of
from pipelines.index.kernels import Words, compiled, distances, least_distance, signed
from pipelines.index.selection import EVERY_ROW, ROWS, Selection, ask_rows

BLOCK = 2048
"""Codes in a block: they and their distances stay in the first-level cache, for all queries of a batch."""


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
                    weight = weight_of(groups, group, -1, excluded_Q[query], EVERY_ROW)
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
    selection: Selection,
    query_W: Words,
    k: int,
    radius: int,
    excluded_row: int,
    found: Found,
    items_M3: Int64s,
) -> Int64s:
    """Compare the blocks with selected rows; return ``items_M3``: (0, distance, row).

    Which rows of a block are selected is asked only where one of its codes is near enough.
    """
    limits_Q = found.limits_Q
    distances_B, near_B2 = np.empty(ROWS, np.int64), np.empty((ROWS, 2), np.int64)
    answers_B = np.empty(ROWS, np.bool_)
    for block in selection.blocks_B:
        start = signed(block) * ROWS
        end = min(start + ROWS, codes_WN.shape[1])
        farthest = max(limits_Q[0], radius)
        if codes_WN.shape[0] == 1 and least_distance(codes_WN[0, start:end], query_W[0]) > farthest:
            continue
        near = _find_near(codes_WN, start, end, query_W, farthest, distances_B, near_B2)
        if near:
            ask_rows(selection, signed(block), start, answers_B[: end - start])
        for index in range(near):
            bits, row = near_B2[index, 0], start + near_B2[index, 1]
            if answers_B[row - start] and bits <= max(limits_Q[0], radius) and row != excluded_row:
                items_M3 = keep(found, items_M3, 0, bits, row, 1, k)
    found.totals[1] += selection.blocks_B.size * ROWS
    return items_M3
