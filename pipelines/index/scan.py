"""Comparing queries with every code, a block at a time: only a block with something near is gone over twice.

Shapes: Q queries, U groups of W words, N rows, M items, B codes of a block.
"""

import numpy as np

from pipelines.index.found import TOGETHER, Found, Int64s, drop_far, keep
from pipelines.index.groups import Groups, weigh
from pipelines.index.intrinsics import popcount
from pipelines.index.kernels import Words, compiled, distances, least_distance, signed
from pipelines.index.selection import EVERY_ROW, NONE, ROWS, SOME, Selection, ask_rows

BLOCK = 2048
"""Codes in a block: they and their distances stay in the first-level cache, for all queries of a batch."""
_PIECE = 128


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
    distances_B, near_B3 = np.empty(BLOCK, np.int64), np.empty((BLOCK, 3), np.int64)
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        block_B = codes_WU[0, start:end]
        for query in range(queries_QW.shape[0]):
            farthest = max(limits_Q[query], radius)
            if codes_WU.shape[0] == 1 and least_distance(block_B, queries_QW[query, 0]) > farthest:
                continue
            near = _find_near(codes_WU, start, end, queries_QW[query], farthest, distances_B, near_B3)
            done = 0
            while done < near:
                some_C3 = near_B3[done : min(done + TOGETHER, near)]
                weigh(groups, some_C3, -1, excluded_Q[query], EVERY_ROW)
                items_M3 = keep(found, items_M3, query, some_C3, k)
                done += TOGETHER
                if max(limits_Q[query], radius) < farthest:
                    farthest = max(limits_Q[query], radius)
                    near = done + drop_far(near_B3[done:near], farthest)
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
    near_B3: Int64s,
) -> int:
    """Fill ``near_B3`` with (distance, position) of the codes that are near enough; return how many are."""
    if codes_WU.shape[0] == 1:
        return _find_near_words(codes_WU[0], start, end, query_W[0], farthest, near_B3)
    if distances(codes_WU, start, end, query_W, distances_B) > farthest:
        return 0
    near = 0
    for offset in range(end - start):
        if distances_B[offset] <= farthest:
            near_B3[near, 0], near_B3[near, 1] = distances_B[offset], start + offset
            near += 1
    return near


@compiled
def _find_near_words(codes_U: Words, start: int, end: int, query: int, farthest: int, near_B3: Int64s) -> int:
    """Do so for codes of one word, of which only some pieces of the block are gone over again."""
    near = 0
    for first in range(start, end, _PIECE):
        last = min(first + _PIECE, end)
        least = 64
        for position in range(first, last):
            least = min(least, popcount(codes_U[position] ^ query))
        if least > farthest:
            continue
        for position in range(first, last):
            bits = popcount(codes_U[position] ^ query)
            if bits <= farthest:
                near_B3[near, 0], near_B3[near, 1] = bits, position
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
    distances_B, near_B3 = np.empty(ROWS, np.int64), np.ones((ROWS, 3), np.int64)
    verdicts_B = selection.verdicts_B
    for block in selection.blocks_B:
        start = signed(block) * ROWS
        end = min(start + ROWS, codes_WN.shape[1])
        farthest = max(limits_Q[0], radius)
        if codes_WN.shape[0] == 1 and least_distance(codes_WN[0, start:end], query_W[0]) > farthest:
            continue
        near = _find_near(codes_WN, start, end, query_W, farthest, distances_B, near_B3)
        in_doubt = verdicts_B[block] == SOME or start <= excluded_row < end
        done = 0
        while done < near:
            some_C3 = near_B3[done : min(done + TOGETHER, near)]
            done += TOGETHER
            left = _drop_unselected(some_C3, selection, excluded_row) if in_doubt else some_C3.shape[0]
            items_M3 = keep(found, items_M3, 0, some_C3[:left], k)
            if max(limits_Q[0], radius) < farthest:
                farthest = max(limits_Q[0], radius)
                near = done + drop_far(near_B3[done:near], farthest)
    found.totals[1] += selection.blocks_B.size * ROWS
    return items_M3


@compiled
def _drop_unselected(near_C3: Int64s, selection: Selection, excluded_row: int) -> int:
    """Move to the front what is selected, but the excluded row; return how many rows are."""
    verdicts_C = np.empty(near_C3.shape[0], np.uint8)
    ask_rows(selection, near_C3[:, 1], verdicts_C)
    left = 0
    for near in range(near_C3.shape[0]):
        near_C3[left, 0], near_C3[left, 1] = near_C3[near, 0], near_C3[near, 1]
        left += verdicts_C[near] != NONE and near_C3[near, 1] != excluded_row
    return left
