"""Multi-index hashing: exact search that touches only what can be near (Norouzi, Punjani and Fleet, 2012).

A code within r bits of the query lies within r // T bits of it in at least one of T disjoint substrings. So
buckets are visited by the distance of their substring from the query's, 0 bits, 1, 2 and so on, in table
after table, until nothing unseen can be near enough. That is proved, not estimated: with step s - 1 done in
all tables and step s in the first t, an unseen code is at least T * s + t bits away.

Shapes: U groups, W words a code, T tables, L bits a substring, M items, P probes, C near codes.
"""

from typing import NamedTuple

import numpy as np

from pipelines.hamming.groups import Groups, weigh
from pipelines.hamming.jit import Int64s, UInt32s, Words, compiled, signed
from pipelines.hamming.kernels import bit_field
from pipelines.hamming.row_filter import RowFilter
from pipelines.hamming.simd import popcount, prefetch
from pipelines.hamming.tables import Tables
from pipelines.hamming.top_k import TOGETHER, TopK, drop_far, push

PROBE_COST = 50
"""Cost of looking up a bucket; the unit is the cost of comparing one code in a scan."""
CANDIDATE_COST = 10
"""Cost of comparing a code of a bucket, in the same unit."""
# A search whose estimated cost exceeds its budget still spends a share of it, since it may end early:
# `_TRIAL`, or only `_HOPELESS_TRIAL` if the estimate exceeds `_HOPELESS` budgets.
_TRIAL, _HOPELESS, _HOPELESS_TRIAL = 0.3, 20, 0.03
_PROBES = 64  # buckets looked up at a time, so that memory answers many requests at once


class Query(NamedTuple):
    """A question about codes of one part, or about the first part of codes, in the index's own terms."""

    row_filter: RowFilter
    words_W1: Words
    k: int
    limit: int
    """Greatest distance of an answer [bits]."""
    radius: int
    """Rows up to this distance are counted [bits]; negative: only those within the limit are."""
    excluded_row: int
    """A row that is no answer, or -1."""
    excluded_group: int
    """The group of this row, or -1."""


class ProbeState(NamedTuple):
    """What a search by multi-index hashing works on; the same from its first probe to its last."""

    groups: Groups
    tables: Tables
    length: int
    """Bits of a substring."""
    query: Query
    top_k: TopK
    """The groups found so far; changes in place."""


@compiled
def search_tables(state: ProbeState, budget: int, items_M3: Int64s) -> tuple[Int64s, bool]:
    """Return ``items_M3``, (0, distance, group), and whether the search came to its end.

    ``budget``: the highest allowed cost; the unit is one code compared by a scan. A search whose estimate
    exceeds it is given up after a part of the budget (`_TRIAL`).
    """
    groups, tables, length, query, top_k = state
    spent = 0
    count = tables.starts_TP.shape[0]
    a_probe = PROBE_COST + CANDIDATE_COST * groups.codes_WU.shape[1] / (1 << length)
    for step in range(length + 1):
        for table in range(count):
            farthest = max(top_k.limits_Q[0], query.radius)
            if count * step + table > farthest:
                return items_M3, True
            whole = spent + a_probe * _probes_left(length, count, step, table, farthest)
            trial = _HOPELESS_TRIAL if whole > _HOPELESS * budget else _TRIAL
            if whole > budget and spent + a_probe * _choose(length, step) > trial * budget:
                return items_M3, False
            spent += _choose(length, step) * PROBE_COST
            items_M3, spent = _visit(state, table, step, budget, spent, items_M3)
            if spent > budget:
                return items_M3, False
    return items_M3, True


@compiled
def _probes_left(length: int, count: int, step: int, table: int, farthest: int) -> int:
    """Return how many buckets are visited from here on if nothing nearer is found: the most there can be."""
    probes = 0
    while step <= length and count * step + table <= farthest:
        probes += _choose(length, step)
        table += 1
        if table == count:
            step, table = step + 1, 0
    return probes


@compiled
def _choose(total: int, chosen: int) -> int:
    ways = 1
    for index in range(chosen):
        ways = ways * (total - index) // (index + 1)
    return ways


@compiled
def _visit(
    state: ProbeState, table: int, step: int, budget: int, spent: int, items_M3: Int64s
) -> tuple[Int64s, int]:
    """Compare the codes of a table's buckets ``step`` bits away; return ``items_M3`` and the cost so far."""
    groups, tables, length, query, top_k = state
    word, skipped = (table * length) >> 6, (table * length) & 63
    query_W = query.words_W1[:, 0]
    own = bit_field(query_W[word], query_W[min(word + 1, query_W.size - 1)], skipped, length)
    first_P, last_P = np.empty(_PROBES, np.int64), np.empty(_PROBES, np.int64)
    near_C3 = np.empty((_PROBES, 3), np.int64)
    difference, end = (1 << step) - 1, 1 << length
    while difference < end:
        probes, candidates, difference = _look_up(
            tables.starts_TP[table], own, difference, end, first_P, last_P
        )
        spent += candidates * CANDIDATE_COST
        if spent > budget:
            return items_M3, spent
        if candidates > near_C3.shape[0]:
            near_C3 = np.empty((2 * candidates, 3), np.int64)
        farthest = max(top_k.limits_Q[0], query.radius)
        first_P, last_P = first_P[:probes], last_P[:probes]
        if groups.codes_WU.shape[0] > 1:
            near = _near_groups(state, table, first_P, last_P, farthest, near_C3)
        else:
            codes_U = tables.codes_TU[table - 1] if table else groups.codes_WU[0]
            near = _near_codes(codes_U, first_P, last_P, query_W[0], farthest, near_C3)
        items_M3 = _push_new(state, table, step, near_C3[:near], items_M3)
        top_k.totals[1] += candidates
    return items_M3, spent


@compiled
def _look_up(
    starts_P: UInt32s, own: int, difference: int, end: int, first_P: Int64s, last_P: Int64s
) -> tuple[int, int, int]:
    """Look up buckets; return how many, how many codes they hold, and the next bucket's difference."""
    probes, candidates = 0, 0
    while difference < end and probes < first_P.size:
        bucket = own ^ difference
        first_P[probes], last_P[probes] = starts_P[bucket], starts_P[bucket + 1]
        candidates += last_P[probes] - first_P[probes]
        probes += 1
        difference = _next_of_as_many_bits(difference, end)
    return probes, candidates, difference


@compiled
def _next_of_as_many_bits(number: int, end: int) -> int:
    """Return the next larger number with as many bits set, or ``end`` after 0 (Gosper's hack)."""
    if not number:
        return end
    lowest = number & -number
    ripple = number + lowest
    return ripple | (((number ^ ripple) >> 2) // lowest)


@compiled
def _near_codes(
    codes_U: Words, first_P: Int64s, last_P: Int64s, query: int, farthest: int, near_C3: Int64s
) -> int:
    """Compare codes of one word, in a table's order; return how many are near, as (distance, place)."""
    for probe in range(first_P.size):
        prefetch(codes_U, min(first_P[probe], codes_U.size - 1))
    near = 0
    for probe in range(first_P.size):
        # unsigned: of a signed place numba tests whether it counts from the end
        for place in range(np.uint64(first_P[probe]), np.uint64(last_P[probe])):
            bits = popcount(codes_U[place] ^ query)
            if bits <= farthest:
                near_C3[near, 0], near_C3[near, 1] = bits, place
                near += 1
    return near


@compiled
def _near_groups(
    state: ProbeState, table: int, first_P: Int64s, last_P: Int64s, farthest: int, near_C3: Int64s
) -> int:
    """Compare codes of several words; return how many are near, as (distance, group)."""
    codes_WU, query_W = state.groups.codes_WU, state.query.words_W1[:, 0]
    groups_U = state.tables.groups_TU[max(0, table - 1)]
    near = 0
    for probe in range(first_P.size):
        for place in range(first_P[probe], last_P[probe]):
            group = signed(groups_U[place]) if table else place
            bits = 0
            for word in range(query_W.size):
                bits += popcount(codes_WU[word, group] ^ query_W[word])
            if bits <= farthest:
                near_C3[near, 0], near_C3[near, 1] = bits, group
                near += 1
    return near


@compiled
def _push_new(state: ProbeState, table: int, step: int, near_C3: Int64s, items_M3: Int64s) -> Int64s:
    """Push the near groups that no earlier visit has found; return ``items_M3``."""
    groups, tables, length, query, top_k = state
    codes_WU, starts_TP, words_W1 = groups.codes_WU, tables.starts_TP, query.words_W1
    done, near = 0, drop_far(near_C3, max(top_k.limits_Q[0], query.radius))
    while done < near:
        some_C3 = near_C3[done : min(done + TOGETHER, near)]
        if table and codes_WU.shape[0] == 1:
            _find_groups(codes_WU, starts_TP[0], length, tables.codes_TU[table - 1], some_C3)
        left = _unseen(codes_WU, words_W1, length, starts_TP.shape[0], table, step, some_C3)
        weigh(groups, some_C3[:left], query.excluded_row, query.excluded_group, query.row_filter)
        items_M3 = push(top_k, items_M3, 0, some_C3[:left], query.k)
        done += TOGETHER
        near = done + drop_far(near_C3[done:near], max(top_k.limits_Q[0], query.radius))
    return items_M3


@compiled
def _find_groups(codes_WU: Words, starts_P: UInt32s, length: int, codes_U: Words, near_C3: Int64s) -> None:
    """Replace places in a table by the groups of the codes there, which are of one word."""
    for near in range(near_C3.shape[0]):
        code = codes_U[near_C3[near, 1]]
        bucket = signed(code >> np.uint64(64 - length))
        low, high = signed(starts_P[bucket]), signed(starts_P[bucket + 1])
        while low < high:
            middle = (low + high) >> 1
            if codes_WU[0, middle] < code:
                low = middle + 1
            else:
                high = middle
        near_C3[near, 1] = low


@compiled
def _unseen(
    codes_WU: Words, query_W1: Words, length: int, count: int, table: int, step: int, near_C3: Int64s
) -> int:
    """Move to the front the groups that no earlier visit has found; return how many these are.

    An earlier visit, at a smaller step or in an earlier table, has found a group if its substring there
    differs in so few bits.
    """
    last = codes_WU.shape[0] - 1
    left = 0
    for near in range(near_C3.shape[0]):
        group = near_C3[near, 1]
        seen = False
        for other in range(count):
            word, skipped = (other * length) >> 6, (other * length) & 63
            following = min(word + 1, last)
            different = codes_WU[word, group] ^ query_W1[word, 0]
            field = bit_field(different, codes_WU[following, group] ^ query_W1[following, 0], skipped, length)
            bits = popcount(np.uint64(field))
            seen |= bits < step or (bits == step and other < table)
        if not seen:
            near_C3[left, 0], near_C3[left, 1] = near_C3[near, 0], group
            left += 1
    return left
