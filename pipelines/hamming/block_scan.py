"""Scans of codes in parts: by blocks, over selected rows, over what multi-index hashing of first parts finds.

Each returns the state of the search and items_R2, as `best` explains them.

Shapes: N rows, U rows in the order of a scan, W words a code, B blocks, V blocks to visit, or words of the
first part, M items, C near codes, or centres, Q queries, S fields of a state, R kept rows.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.best import COMPARED, LIMIT, WITHIN, keep_rows, nothing_kept
from pipelines.hamming.blocks import BLOCK_ROWS
from pipelines.hamming.found import TOGETHER, Int64s, nothing_found
from pipelines.hamming.groups import Groups, first_row
from pipelines.hamming.intrinsics import popcount
from pipelines.hamming.kernels import Words, compiled, least_distance, signed
from pipelines.hamming.multi_index import Query, search_tables
from pipelines.hamming.near import find_near, write_keys
from pipelines.hamming.scan import order
from pipelines.hamming.selection import ROWS, Plain, Selection, UInt32s
from pipelines.hamming.tables import Tables

UInt16s = NDArray[np.uint16]

_DECIDING_BITS = 16
"""Where so many bits of the first word outweigh all other words, the first word rules out whole blocks."""


@compiled
def scan_blocks(
    layout: tuple[Words, UInt32s, UInt32s, UInt32s],
    visits: tuple[Int64s, Int64s, Int64s],
    asked: Plain,
    wanted: Plain,
    selection: Plain,
) -> tuple[Int64s, Int64s]:
    """Compare the blocks in the order of a visit, but those that their bounds rule out.

    ``layout``: codes_WU, rows_U, starts_B, ranks_N. ``visits``: blocks_V, and for each block of the index
    bounds_B, the least that its first parts add to a key, and middles_B, about what they add.
    """
    codes_WU, rows_U, starts_B, ranks_N = layout
    blocks_V, bounds_B, middles_B = visits
    state, items_R2 = nothing_kept(wanted)
    radius, chosen = wanted[2], Selection(*selection)
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
    visits: tuple[Int64s, Int64s],
    queries: tuple[Words, Int64s],
    asked: Plain,
    wanted: Plain,
    selection: Plain,
    kept: tuple[Int64s, Int64s],
) -> None:
    """Compare each block with every query before the next block is read, but for what bounds rule out.

    ``visits``: bounds_QB and middles_QB, as in `scan_blocks`. ``queries``: words_QW and excluded_rows_Q, in
    place of what ``asked`` and ``wanted`` say. ``kept``: states_QS and items_QR2 so far, which change; there
    is room for as many rows as a state may count.
    """
    codes_WU, rows_U, starts_B, ranks_N = layout
    bounds_QB, middles_QB = visits
    words_QW, excluded_Q = queries
    states_QS, items_QR2 = kept
    _, masks_EW, weights_EW, own_W, others_W, others = asked
    k, limit, radius, _ = wanted
    chosen, near_C3 = Selection(*selection), np.empty((BLOCK_ROWS, 3), np.int64)
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
    selection: Plain,
) -> tuple[Int64s, Int64s]:
    """Compare the rows of the blocks of a selection.

    Where the first word of a code counts for most, the least that it adds to a key is found for each block
    first: the nearest blocks are compared, and no block that is too far.
    """
    state, items_R2 = nothing_kept(wanted)
    chosen, radius = Selection(*selection), wanted[2]
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
    """Return for each block the least that the first word adds to a key; 0 where the others count more."""
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
    """Return what the first part adds to the key of a code that has little in common with the query."""
    _, masks_EW, weights_EW, own_W, others_W, others = asked
    twice = 0
    for word in own_W[: others_W.size - others]:
        for plane in range(masks_EW.shape[0]):
            twice += weights_EW[plane, word] * popcount(masks_EW[plane, word])
    return twice // 2


@compiled
def keep_by_tables(
    index: Plain,
    asked_first: Plain,
    limits: tuple[int, int],
    asked: Plain,
    wanted: Plain,
    selection: Plain,
) -> tuple[Int64s, Int64s, bool]:
    """Keep what multi-index hashing finds, where the first part alone makes the distance.

    ``index``: groups, tables, bits of a substring, codes_WN, ranks_N. ``asked_first``: `Query` without its
    selection. ``limits``: bits of the first part, and the budget of `search_tables`. Also returns whether the
    search came to its end.
    """
    groups, tables, length, codes_WN, ranks_N = index
    state, items_R2 = nothing_kept(wanted)
    query, (bits, budget) = Query(Selection(*selection), *asked_first), limits
    found, items_M3 = nothing_found(1, query.limit, bits)
    items_M3, finished = search_tables(
        Groups(*groups), Tables(*tables), length, query, budget, found, items_M3
    )
    state[COMPARED] += found.totals[1]
    if not finished:
        return state, items_R2, False
    near, limit = 0, found.limits_Q[0]
    for item in range(found.totals[0]):
        if items_M3[item, 1] <= limit:
            items_M3[near, 2] = items_M3[item, 2]
            near += 1
    items_R2 = keep_groups(
        codes_WN, groups, items_M3[:near], asked, wanted, ranks_N, selection, state, items_R2
    )
    state[WITHIN] = found.counts_QD[0, : query.radius + 1].sum()
    return state, items_R2, True


@compiled
def keep_groups(
    codes_WN: Words,
    groups: Plain,
    items_M3: Int64s,
    asked: Plain,
    wanted: Plain,
    ranks_N: UInt32s,
    selection: Plain,
    state: Int64s,
    items_R2: Int64s,
) -> Int64s:
    """Compare the rows of groups with equal first parts: items_M3 are (anything, anything, group)."""
    _, starts_U, rows_N = groups
    chosen = Selection(*selection)
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
    """Return blocks_V, the nearest first; and of each block what `scan_blocks` takes: bounds_B, middles_B.

    ``known``: centres_B, nearest_B, farthest_B. ``weight``: of the first part in a key, of so many ``bits``.
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
