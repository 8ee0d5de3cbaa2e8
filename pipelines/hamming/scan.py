"""Scans of codes of one part: of every group, for one query or several, or of rows that may pass a filter.

A block's least distance is found first; only a block with something near is gone over a second time.

Shapes: Q queries, U groups of W words, N rows, M items or rows, B codes of a block, S blocks with rows that
may pass the filter, C near codes.
"""

import numpy as np

from pipelines.hamming.groups import Groups, weigh
from pipelines.hamming.jit import Int64s, Plain, UInt32s, Words, compiled, signed
from pipelines.hamming.kernels import SHARED, distances, least_distance, least_distances
from pipelines.hamming.near import bits_alike, find_near
from pipelines.hamming.row_filter import ALL_ROWS, EVERY_ROW, NONE, ROWS, RowFilter, judge_rows
from pipelines.hamming.simd import LANES, near_bits, popcount, prefetch
from pipelines.hamming.top_k import TOGETHER, TopK, drop_far, empty_top_k, push

BLOCK = 2048
"""Codes in a block: they and their distances stay in the first-level cache, for all queries of a batch."""
_FEW_BLOCKS = 32
"""So few blocks with rows that may pass say little about the distance of the k-th answer."""


@compiled
def scan_groups(
    groups: Plain,
    run: tuple[int, int],
    queries_QW: Words,
    excluded_Q: Int64s,
    limits: tuple[int, int, int, int],
) -> tuple[TopK, Int64s]:
    """Compare a run of groups with each query; return the state and items_M3: (query, distance, group).

    ``run`` is (first group, end). ``limits`` is (k, limit, radius, bits): limit is the greatest distance of
    an answer; rows up to the radius are counted, and if it is negative, only rows within the limit; bits are
    those of a code. ``excluded_Q``: for each query a group with one row that is no answer, or -1.
    """
    (first, last), (k, limit, radius, bits) = run, limits
    named, (top_k, items_M3) = Groups(*groups), empty_top_k(queries_QW.shape[0], limit, bits)
    codes_WU, limits_Q = named.codes_WU, top_k.limits_Q  # each access to a field counts references
    near_B3, steps_1 = np.empty((BLOCK, 3), np.int64), np.ones(1, np.int64)
    every_word = bits_alike(codes_WU.shape[0])
    queries_Q, least_4 = queries_QW[:, 0].copy(), np.empty(SHARED, np.int64)
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        block_B = codes_WU[0, start:end]
        for query in range(queries_Q.size):
            farthest = max(limits_Q[query], radius)
            if codes_WU.shape[0] == 1:
                if queries_Q.size < SHARED:
                    least_4[query % SHARED] = least_distance(block_B, queries_Q[query], 0)
                elif query % SHARED == 0:
                    ahead = end + query * BLOCK // queries_Q.size  # the next block comes meanwhile
                    _fetch(codes_WU[0], ahead, ahead + SHARED * BLOCK // queries_Q.size)
                    least_distances(block_B, queries_Q, query, least_4)
                if least_4[query % SHARED] > farthest:
                    continue
            asked = (queries_QW[query], *every_word)
            near = _find_near(codes_WU, start, end, asked, farthest, steps_1, near_B3, 0)
            done = 0
            while done < near:
                some_C3 = near_B3[done : min(done + TOGETHER, near)]
                weigh(named, some_C3, -1, excluded_Q[query], EVERY_ROW)
                items_M3 = push(top_k, items_M3, query, some_C3, k)
                done += TOGETHER
                if max(limits_Q[query], radius) < farthest:
                    farthest = max(limits_Q[query], radius)
                    near = done + drop_far(near_B3[done:near], farthest)
    top_k.totals[1] += (last - first) * queries_QW.shape[0]
    return top_k, items_M3


@compiled
def _fetch(codes_U: Words, first: int, last: int) -> None:
    """Ask for codes to be brought to the cache, without waiting for them."""
    for position in range(first, min(last, codes_U.size), LANES):
        prefetch(codes_U, position)


@compiled
def _find_near(
    codes_WU: Words,
    start: int,
    end: int,
    asked: Plain,
    farthest: int,
    steps_1: Int64s,
    near_C3: Int64s,
    near: int,
) -> int:
    """Write (distance, position) of near codes behind ``near`` others; return how many these are together."""
    if codes_WU.shape[0] == 1:
        return _find_near_words(codes_WU[0], start, end, asked[0][0], farthest, near_C3, near)
    return find_near(codes_WU, (start, end, ROWS), asked, 0, 0, farthest, steps_1, near_C3, near)


@compiled
def _find_near_words(
    codes_U: Words, start: int, end: int, query: int, farthest: int, near_C3: Int64s, near: int
) -> int:
    """Do the same for codes of one word, 64 at a time."""
    first = start
    while first + 64 <= end:
        bits = near_bits(codes_U, first, query, farthest)
        while bits:
            place = first + popcount(~bits & (bits - np.uint64(1)))  # of the lowest bit
            near_C3[near, 0], near_C3[near, 1] = popcount(codes_U[place] ^ query), place
            near += 1
            bits &= bits - np.uint64(1)
        first += 64
    for position in range(first, end):
        distance = popcount(codes_U[position] ^ query)
        if distance <= farthest:
            near_C3[near, 0], near_C3[near, 1] = distance, position
            near += 1
    return near


@compiled
def scan_rows(
    codes_WN: Words,
    row_filter: RowFilter,
    query_W: Words,
    k: int,
    radius: int,
    excluded_row: int,
    top_k: TopK,
    items_M3: Int64s,
) -> Int64s:
    """Compare the blocks with rows that may pass the filter; return ``items_M3``: (0, distance, row).

    The nearest blocks come first; of a few blocks, the nearest rows. The filter is asked only about rows
    whose codes are near enough.
    """
    if row_filter.blocks_B.size <= _FEW_BLOCKS:
        return _scan_few(codes_WN, row_filter, query_W, k, radius, excluded_row, top_k, items_M3)
    limits_Q, verdicts_B, blocks_S = top_k.limits_Q, row_filter.verdicts_B, row_filter.blocks_B
    distances_B, near_C3 = np.empty(ROWS, np.int64), np.empty((TOGETHER + ROWS, 3), np.int64)
    asked, steps_1 = (query_W, *bits_alike(codes_WN.shape[0])), np.ones(1, np.int64)
    least_S = _least_distances(codes_WN, blocks_S, query_W, distances_B)
    order_S = order(least_S, top_k.counts_QD.shape[1])
    whole = 0 if excluded_row < 0 else -1
    for place in order_S:
        whole += verdicts_B[blocks_S[place]] == ALL_ROWS
        if whole == k:  # each whole block has a row as near as its least distance
            limits_Q[0] = min(limits_Q[0], least_S[place])
            break
    near = 0
    for place in order_S:
        farthest = max(limits_Q[0], radius)
        if least_S[place] > farthest:
            break
        start = signed(blocks_S[place]) * ROWS
        end = min(start + ROWS, codes_WN.shape[1])
        near = _find_near(codes_WN, start, end, asked, farthest, steps_1, near_C3, near)
        if near >= TOGETHER:
            items_M3 = _push_passing(near_C3[:near], row_filter, excluded_row, top_k, items_M3, k)
            near = 0
    items_M3 = _push_passing(near_C3[:near], row_filter, excluded_row, top_k, items_M3, k)
    top_k.totals[1] += blocks_S.size * ROWS
    return items_M3


@compiled
def _scan_few(
    codes_WN: Words,
    row_filter: RowFilter,
    query_W: Words,
    k: int,
    radius: int,
    excluded_row: int,
    top_k: TopK,
    items_M3: Int64s,
) -> Int64s:
    """Compare every row of a few blocks, then ask the filter about the nearest first, until k rows pass."""
    rows_M = np.empty(row_filter.blocks_B.size * ROWS, np.int64)
    distances_M, count = np.empty(rows_M.size, np.int64), 0
    for block in row_filter.blocks_B:
        start = signed(block) * ROWS
        end = min(start + ROWS, codes_WN.shape[1])
        distances(codes_WN, start, end, query_W, distances_M[count:])
        rows_M[count : count + end - start] = np.arange(start, end)
        count += end - start
    order_M = order(distances_M[:count], top_k.counts_QD.shape[1])
    done, together = 0, TOGETHER
    while done < count and distances_M[order_M[done]] <= max(top_k.limits_Q[0], radius):
        some_C = order_M[done : done + together]
        near_C3 = np.empty((some_C.size, 3), np.int64)
        near_C3[:, 0], near_C3[:, 1] = distances_M[some_C], rows_M[some_C]
        items_M3 = _push_passing(near_C3, row_filter, excluded_row, top_k, items_M3, k)
        done, together = done + together, 2 * together
    top_k.totals[1] += count
    return items_M3


@compiled
def _least_distances(codes_WN: Words, blocks_S: UInt32s, query_W: Words, distances_B: Int64s) -> Int64s:
    """Return the least distance in each block."""
    least_S = np.empty(blocks_S.size, np.int64)
    for place in range(blocks_S.size):
        start = signed(blocks_S[place]) * ROWS
        end = min(start + ROWS, codes_WN.shape[1])
        if codes_WN.shape[0] == 1:
            ahead = signed(blocks_S[min(place + 1, blocks_S.size - 1)]) * ROWS - start
            least_S[place] = least_distance(codes_WN[0, start:end], query_W[0], ahead)
        else:
            least_S[place] = distances(codes_WN, start, end, query_W, distances_B)
    return least_S


@compiled
def order(least_S: Int64s, distances: int) -> Int64s:
    """Return the places of blocks, or rows, nearest first (a counting sort)."""
    next_D, order_S = np.zeros(distances + 1, np.int64), np.empty(least_S.size, np.int64)
    for place in range(least_S.size):
        next_D[np.uint64(least_S[place] + 1)] += 1
    next_D = np.cumsum(next_D)
    for place in range(least_S.size):
        least = np.uint64(least_S[place])
        order_S[np.uint64(next_D[least])] = place
        next_D[least] += 1
    return order_S


@compiled
def _push_passing(
    near_C3: Int64s, row_filter: RowFilter, excluded_row: int, top_k: TopK, items_M3: Int64s, k: int
) -> Int64s:
    """Push the near rows that pass the filter, except the excluded one; return ``items_M3``."""
    rows_C, verdicts_C = near_C3[:, 1].copy(), np.empty(near_C3.shape[0], np.uint8)
    judge_rows(row_filter, rows_C, verdicts_C)
    left = 0
    for near in range(rows_C.size):
        near_C3[left, 0], near_C3[left, 1], near_C3[left, 2] = near_C3[near, 0], rows_C[near], 1
        left += (verdicts_C[near] != NONE) & (rows_C[near] != excluded_row)
    return push(top_k, items_M3, 0, near_C3[:left], k)
