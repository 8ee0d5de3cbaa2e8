"""Multi-index hashing: exact search that touches only what can be near (Norouzi, Punjani and Fleet, 2012).

A code within r bits of the query lies within r // T bits of it in at least one of T disjoint substrings. So
buckets are visited by the distance of their substring from the query's, 0 bits, 1, 2 and so on, in table
after table, until nothing unseen can be near enough. That is proved, not estimated: with step s - 1 done in
all tables and step s in the first t, an unseen code is at least T * s + t bits away.

Shapes: U groups, W words a code, T tables, L bits a substring, M items, P probes, C near codes.
"""

from typing import NamedTuple

import numpy as np

from pipelines.hamming.found import TOGETHER, Found, Int64s, drop_far, keep
from pipelines.hamming.groups import Groups, weigh
from pipelines.hamming.intrinsics import popcount, prefetch
from pipelines.hamming.kernels import Words, bit_field, compiled, signed
from pipelines.hamming.selection import Selection, UInt32s
from pipelines.hamming.tables import Tables

PROBE_COST = 50
"""What looking up a bucket costs, in codes that a scan compares meanwhile."""
CANDIDATE_COST = 10
"""The same of comparing a code of a bucket."""
_TRIAL = 0.3  # of the budget: spent in the hope that something near ends the search early
_HOPELESS, _HOPELESS_TRIAL = 20, 0.03  # where it would cost so many times the budget, less is spent
_PROBES = 64  # looked up at a time, so that memory answers many at once


class Query(NamedTuple):
    """What is asked, in the index's own terms."""

    selection: Selection
    words_W1: Words
    k: int
    limit: int
    """Farthest that an answer may be [bits]."""
    radius: int
    """Rows are counted up to here; negative where only those within the limit matter [bits]."""
    excluded_row: int
    """A row that doesn't count, or -1."""
    excluded_group: int
    """Its group."""


@compiled
def search_tables(
    groups: Groups, tables: Tables, length: int, query: Query, budget: int, found: Found, items_M3: Int64s
) -> tuple[Int64s, bool]:
    """Return ``items_M3``, (0, distance, group), and whether the search came to its end.

    It is given up where it is about to cost more than ``budget``, in codes that a scan compares: after a
    `_TRIAL` of it, or when that is spent; sooner where nothing is near so far.
    """
    spent = 0
    count = tables.starts_TP.shape[0]
    a_probe = PROBE_COST + CANDIDATE_COST * groups.codes_WU.shape[1] / (1 << length)
    for step in range(length + 1):
        for table in range(count):
            farthest = max(found.limits_Q[0], query.radius)
            if count * step + table > farthest:
                return items_M3, True
            whole = spent + a_probe * _probes_left(length, count, step, table, farthest)
            trial = _HOPELESS_TRIAL if whole > _HOPELESS * budget else _TRIAL
            if whole > budget and spent + a_probe * _choose(length, step) > trial * budget:
                return items_M3, False
            spent += _choose(length, step) * PROBE_COST
            items_M3, spent = _visit(
                groups, tables, length, query, table, step, budget, spent, found, items_M3
            )
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
    groups: Groups,
    tables: Tables,
    length: int,
    query: Query,
    table: int,
    step: int,
    budget: int,
    spent: int,
    found: Found,
    items_M3: Int64s,
) -> tuple[Int64s, int]:
    """Compare what lies in a table's buckets at ``step`` bits; return ``items_M3`` and what is spent."""
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
        farthest = max(found.limits_Q[0], query.radius)
        first_P, last_P = first_P[:probes], last_P[:probes]
        if groups.codes_WU.shape[0] > 1:
            near = _near_groups(groups, tables, table, first_P, last_P, query_W, farthest, near_C3)
        else:
            codes_U = tables.codes_TU[table - 1] if table else groups.codes_WU[0]
            near = _near_codes(codes_U, first_P, last_P, query_W[0], farthest, near_C3)
        items_M3 = _keep_new(groups, tables, length, query, table, step, near_C3[:near], found, items_M3)
        found.totals[1] += candidates
    return items_M3, spent


@compiled
def _look_up(
    starts_P: UInt32s, own: int, difference: int, end: int, first_P: Int64s, last_P: Int64s
) -> tuple[int, int, int]:
    """Find some buckets; return how many, how many codes they hold, and the next bucket's difference."""
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
        for place in range(np.uint64(first_P[probe]), np.uint64(last_P[probe])):  # not counted from the end
            bits = popcount(codes_U[place] ^ query)
            if bits <= farthest:
                near_C3[near, 0], near_C3[near, 1] = bits, place
                near += 1
    return near


@compiled
def _near_groups(
    groups: Groups,
    tables: Tables,
    table: int,
    first_P: Int64s,
    last_P: Int64s,
    query_W: Words,
    farthest: int,
    near_C3: Int64s,
) -> int:
    """Compare longer codes; return how many are near, as (distance, group)."""
    codes_WU = groups.codes_WU
    groups_U = tables.groups_TU[max(0, table - 1)]
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
def _keep_new(
    groups: Groups,
    tables: Tables,
    length: int,
    query: Query,
    table: int,
    step: int,
    near_C3: Int64s,
    found: Found,
    items_M3: Int64s,
) -> Int64s:
    """Keep what is near and wasn't seen before; return ``items_M3``."""
    codes_WU, starts_TP, words_W1 = groups.codes_WU, tables.starts_TP, query.words_W1
    done, near = 0, drop_far(near_C3, max(found.limits_Q[0], query.radius))
    while done < near:
        some_C3 = near_C3[done : min(done + TOGETHER, near)]
        if table and codes_WU.shape[0] == 1:
            _find_groups(codes_WU, starts_TP[0], length, tables.codes_TU[table - 1], some_C3)
        left = _unseen(codes_WU, words_W1, length, starts_TP.shape[0], table, step, some_C3)
        weigh(groups, some_C3[:left], query.excluded_row, query.excluded_group, query.selection)
        items_M3 = keep(found, items_M3, 0, some_C3[:left], query.k)
        done += TOGETHER
        near = done + drop_far(near_C3[done:near], max(found.limits_Q[0], query.radius))
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
    """Move to the front what no earlier visit, at a smaller step or in an earlier table, has come upon."""
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
