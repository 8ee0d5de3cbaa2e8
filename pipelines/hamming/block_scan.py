"""Scans of codes in parts: by blocks, over the blocks of a filter, over what multi-index hashing finds.

The functions that Python calls take and return plain tuples: the fields of the named types that their
docstrings name (`kernel_calls` has the named form).

Shapes: N rows, U rows in the order of a scan, W words a code, B blocks, V blocks to visit, or words of the
first part, M items, C near codes, or centres, Q queries, S fields of a state, R kept rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.best import COMPARED, LIMIT, WITHIN, keep_rows, nothing_kept
from pipelines.hamming.blocks import BLOCK_ROWS
from pipelines.hamming.groups import Groups, first_row
from pipelines.hamming.jit import Int64s, Plain, UInt32s, Words, compiled, signed
from pipelines.hamming.kernels import least_distance
from pipelines.hamming.multi_index import ProbeState, Query, search_tables
from pipelines.hamming.near import find_near, write_keys
from pipelines.hamming.row_filter import ROWS, RowFilter
from pipelines.hamming.scan import order
from pipelines.hamming.simd import popcount
from pipelines.hamming.tables import Tables
from pipelines.hamming.top_k import TOGETHER, empty_top_k

UInt16s = NDArray[np.uint16]

_DECIDING_BITS = 16
"""If this many bits of the first word outweigh all other words, the first word rules out whole blocks."""


class Visits(NamedTuple):
    """In which order blocks are compared, and what is known of each."""

    blocks_V: Int64s
    """Blocks to compare, the nearest first."""
    bounds_B: Int64s
    """For each block of the index the least that the first part adds to the key of one of its rows."""
    middles_B: Int64s
    """For each block of the index about what the first part adds."""


class BatchState(NamedTuple):
    """Queries that are answered together, and what they have kept so far."""

    words_QW: Words
    excluded_Q: Int64s
    """For each query a row that is no answer, or -1."""
    bounds_QB: Int64s
    middles_QB: Int64s
    """Both as in `Visits`."""
    states_QS: Int64s
    items_QR2: Int64s
    """Both as in `Kept`; they change in place. There is room for as many rows as a state may count."""


@compiled
def scan_blocks(
    layout: tuple[Words, UInt32s, UInt32s, UInt32s],
    visits: Plain,
    asked: Plain,
    wanted: Plain,
    row_filter: Plain,
) -> tuple[Int64s, Int64s]:
    """Compare the blocks of a visit in order, except those that their bounds rule out; return `Kept`.

    ``layout``: codes_WU, rows_U, starts_B, ranks_N. ``visits``: `Visits`.
    """
    codes_WU, rows_U, starts_B, ranks_N = layout
    blocks_V, bounds_B, middles_B = visits
    state, items_R2 = nothing_kept(wanted)
    radius, chosen = wanted[2], RowFilter(*row_filter)
    near_C3, steps_1 = np.empty((BLOCK_ROWS, 3), np.int64), np.ones(1, np.int64)
    for visit in range(blocks_V.size):
        block, farthest = blocks_V[visit], max(state[LIMIT], radius)
        if bounds_B[block] > farthest:
            continue
        start, end = signed(starts_B[block]), signed(starts_B[block + 1])
        following = blocks_V[min(visit + 1, blocks_V.size - 1)]
        run = (start, end, signed(starts_B[following]) - start)
        near = find_near(
            codes_WU, run, asked, bounds_B[block], middles_B[block], farthest, steps_1, near_C3, 0
        )
        for index in range(near):
            near_C3[index, 1] = rows_U[near_C3[index, 1]]
        if near:
            items_R2 = keep_rows(state, items_R2, near_C3[:near], ranks_N, wanted, chosen)
        state[COMPARED] += end - start
    return state, items_R2


@compiled
def scan_together(
    layout: tuple[Words, UInt32s, UInt32s, UInt32s],
    batch: Plain,
    asked: Plain,
    wanted: Plain,
    row_filter: Plain,
) -> None:
    """Compare each block with every query that its bound doesn't rule out, before the next block is read.

    ``batch``: `BatchState`. Its queries and excluded rows take the place of those of ``asked`` and
    ``wanted``.
    """
    codes_WU, rows_U, starts_B, ranks_N = layout
    words_QW, excluded_Q, bounds_QB, middles_QB, states_QS, items_QR2 = batch
    _, masks_EW, weights_EW, own_W, others_W, others = asked
    k, limit, radius, _ = wanted
    chosen, near_C3 = RowFilter(*row_filter), np.empty((BLOCK_ROWS, 3), np.int64)
    steps_Q = np.ones(words_QW.shape[0], np.int64)
    for block in range(starts_B.size - 1):
        start, end = signed(starts_B[block]), signed(starts_B[block + 1])
        for query in range(words_QW.shape[0]):
            bound, farthest = bounds_QB[query, block], max(states_QS[query, LIMIT], radius)
            if bound > farthest:
                continue
            one = (words_QW[query], masks_EW, weights_EW, own_W, others_W, others)
            steps_1 = steps_Q[query : query + 1]
            run = (start, end, end - start)
            near = find_near(
                codes_WU, run, one, bound, middles_QB[query, block], farthest, steps_1, near_C3, 0
            )
            for index in range(near):
                near_C3[index, 1] = rows_U[near_C3[index, 1]]
            if near:
                rows = (k, limit, radius, excluded_Q[query])
                keep_rows(states_QS[query], items_QR2[query], near_C3[:near], ranks_N, rows, chosen)
            states_QS[query, COMPARED] += end - start


@compiled
def scan_selected(
    codes_WN: Words,
    ranks_N: UInt32s,
    asked: Plain,
    wanted: Plain,
    row_filter: Plain,
) -> tuple[Int64s, Int64s]:
    """Compare the rows of the blocks of a filter; return `Kept`.

    If the first word of a code has most of the weight, the smallest amount that it adds to a key is computed
    for each block first. Then blocks are compared, the nearest first, up to the first that is too far.
    """
    state, items_R2 = nothing_kept(wanted)
    chosen, radius = RowFilter(*row_filter), wanted[2]
    near_C3, steps_1 = np.empty((ROWS, 3), np.int64), np.ones(1, np.int64)
    middle = _usual_of_first_part(asked)
    bounds_V = _bounds_of_blocks(codes_WN, asked, chosen.blocks_B)
    weight = max(1, asked[2][0, 0])
    for place in order(bounds_V // weight, 64):
        bound, farthest = bounds_V[place], max(state[LIMIT], radius)
        if bound > farthest:
            break
        start = signed(chosen.blocks_B[place]) * ROWS
        run = (start, min(start + ROWS, codes_WN.shape[1]), ROWS)
        near = find_near(codes_WN, run, asked, bound, middle, farthest, steps_1, near_C3, 0)
        if near:
            items_R2 = keep_rows(state, items_R2, near_C3[:near], ranks_N, wanted, chosen)
        state[COMPARED] += run[1] - start
    return state, items_R2


@compiled
def _bounds_of_blocks(codes_WN: Words, asked: Plain, blocks_V: UInt32s) -> Int64s:
    """Return for each block the least that the first word adds to a key; 0 where other words count more."""
    query_W, masks_EW, weights_EW, own_W, _, _ = asked
    bounds_V, weight = np.zeros(blocks_V.size, np.int64), weights_EW[0, 0]
    others = 64 * (weights_EW[0][own_W].sum() - weight)
    if masks_EW.shape[0] > 1 or _DECIDING_BITS * weight < others:
        return bounds_V
    for place in range(blocks_V.size):
        start = signed(blocks_V[place]) * ROWS
        end = min(start + ROWS, codes_WN.shape[1])
        ahead = signed(blocks_V[min(place + 1, blocks_V.size - 1)]) * ROWS - start
        bounds_V[place] = weight * least_distance(codes_WN[0, start:end], query_W[0], ahead)
    return bounds_V


@compiled
def _usual_of_first_part(asked: Plain) -> int:
    """Return what the first part adds to the key of a code half of whose bits differ from the query's."""
    _, masks_EW, weights_EW, own_W, others_W, others = asked
    twice = 0
    for word in own_W[: others_W.size - others]:
        for plane in range(masks_EW.shape[0]):
            twice += weights_EW[plane, word] * popcount(masks_EW[plane, word])
    return twice // 2


@compiled
def keep_by_tables(
    index: Plain,
    query: Plain,
    limits: tuple[int, int],
    asked: Plain,
    wanted: Plain,
    row_filter: Plain,
) -> tuple[Int64s, Int64s, bool]:
    """Keep what multi-index hashing finds, where the first part alone makes the distance.

    ``index``: groups, tables, bits of a substring, codes_WN, ranks_N. ``query``: `Query` of the first part
    without its filter. ``limits``: bits of the first part, and the budget of `search_tables`. Returns the
    fields of `Kept`, and whether the search came to its end.
    """
    groups, tables, length, codes_WN, ranks_N = index
    state, items_R2 = nothing_kept(wanted)
    first, (bits, budget) = Query(RowFilter(*row_filter), *query), limits
    top_k, items_M3 = empty_top_k(1, first.limit, bits)
    probe_state = ProbeState(Groups(*groups), Tables(*tables), length, first, top_k)
    items_M3, finished = search_tables(probe_state, budget, items_M3)
    state[COMPARED] += top_k.totals[1]
    if not finished:
        return state, items_R2, False
    near, limit = 0, top_k.limits_Q[0]
    for item in range(top_k.totals[0]):
        if items_M3[item, 1] <= limit:
            items_M3[near, 2] = items_M3[item, 2]
            near += 1
    items_R2 = keep_groups(
        codes_WN, groups, items_M3[:near], asked, wanted, ranks_N, row_filter, state, items_R2
    )
    state[WITHIN] = top_k.counts_QD[0, : first.radius + 1].sum()
    return state, items_R2, True


@compiled
def keep_groups(
    codes_WN: Words,
    groups: Plain,
    items_M3: Int64s,
    asked: Plain,
    wanted: Plain,
    ranks_N: UInt32s,
    row_filter: Plain,
    state: Int64s,
    items_R2: Int64s,
) -> Int64s:
    """Compare the rows of groups with equal first parts: items_M3 are (anything, anything, group)."""
    _, starts_U, rows_N = groups
    chosen = RowFilter(*row_filter)
    near_C3, near = np.empty((TOGETHER, 3), np.int64), 0
    for item in range(items_M3.shape[0]):
        group = items_M3[item, 2]
        for place in range(first_row(starts_U, group), first_row(starts_U, group + 1)):
            near_C3[near, 1] = rows_N[place]
            near += 1
            if near == TOGETHER:
                write_keys(codes_WN, asked, near_C3)
                items_R2 = keep_rows(state, items_R2, near_C3, ranks_N, wanted, chosen)
                near = 0
    write_keys(codes_WN, asked, near_C3[:near])
    return keep_rows(state, items_R2, near_C3[:near], ranks_N, wanted, chosen)


@compiled
def order_blocks(
    centres_CV: Words, known: tuple[UInt16s, UInt16s, UInt16s], query_W: Words, weight: int, bits: int
) -> tuple[Int64s, Int64s, Int64s]:
    """Return `Visits` of all blocks.

    ``known``: centres_B, nearest_B, farthest_B. ``weight`` of the first part in a key; the ``bits`` it has.
    """
    centres_B, nearest_B, farthest_B = known
    blocks = centres_B.size
    apart_C = np.zeros(centres_CV.shape[0], np.int64)
    for centre in range(centres_CV.shape[0]):
        for word in range(centres_CV.shape[1]):
            apart_C[centre] += popcount(centres_CV[centre, word] ^ query_W[word])
    bounds_B, middles_B = np.empty(blocks, np.int64), np.empty(blocks, np.int64)
    places_B = np.empty(blocks, np.int64)
    for block in range(blocks):
        apart = apart_C[centres_B[block]]
        bound = max(0, apart - signed(farthest_B[block]), signed(nearest_B[block]) - apart)
        bounds_B[block], middles_B[block], places_B[block] = bound * weight, apart * weight, bound + apart
    return order(places_B, 2 * bits + 1), bounds_B, middles_B
