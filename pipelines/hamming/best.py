"""The first rows that a search of codes in parts has found so far, in the order of (key, rank).

A row's key is its distance and its tie in one number (`Comparison.key_weights`). Memory stays bounded however
many rows are equal: when twice as many rows as needed are kept, the last are dropped. Kernels change the
state in place; it is one array of numbers, because each further array of a call costs time.

Shapes: S fields of a state, R kept rows, C candidates, K rows of the answer, P parts, N rows, W words a code.
"""

from typing import NamedTuple

import numpy as np

from pipelines.hamming.jit import Int64s, Plain, UInt32s, Words, compiled, signed
from pipelines.hamming.row_filter import NONE, PASS_ALL, RowFilter, judge_rows
from pipelines.hamming.simd import popcount
from pipelines.hamming.top_k import TOGETHER

COUNT, LIMIT, DROPPED, WITHIN, COMPARED, NEXT = range(6)
"""Fields of the state: rows kept; the greatest key that an answer may still have; dropped rows with exactly
this key, which come behind k others; rows within the radius; codes compared; the count at which rows are
dropped next."""
GREATEST_KEY = 2**31 - 1
"""The greatest key there may be: key and rank together make one whole number of 64 bits."""
_ROOM = 256


class Wanted(NamedTuple):
    """How many rows are wanted, and how far away they may be."""

    k: int
    limit: int
    """Greatest key of an answer."""
    radius: int
    """Rows up to this key are counted; negative: none are."""
    excluded_row: int
    """A row that is no answer, or -1."""


class Kept(NamedTuple):
    """What a search has kept."""

    state_S: Int64s
    items_R2: Int64s
    """(key << 32 | rank, row) in each line; only the first lines are in use, as many as the state counts."""


class FirstRows(NamedTuple):
    """The rows of an answer in order."""

    rows_K: Int64s
    keys_K: Int64s
    part_distances_KP: Int64s
    """Hamming distance of each part [bits]."""
    tied: int
    """Rows with the key of the last of them that k left out."""


@compiled
def nothing_kept(wanted: Plain) -> tuple[Int64s, Int64s]:
    """Return the fields of `Kept` at the start. ``wanted``: `Wanted`."""
    return np.array([0, wanted[1], 0, 0, 0, wanted[0]], np.int64), np.empty((_ROOM, 2), np.int64)


@compiled
def keep_rows(
    state: Int64s, items_R2: Int64s, near_C3: Int64s, ranks_N: UInt32s, wanted: Plain, row_filter: RowFilter
) -> Int64s:
    """Keep the wanted rows of near_C3, (key, row, anything); return ``items_R2``, or a larger array."""
    k, _, radius, excluded_row = wanted
    is_filtered = row_filter.kind != PASS_ALL
    rows_C, verdicts_C = near_C3[:, 1].copy(), np.ones(near_C3.shape[0], np.uint8)
    if is_filtered:
        judge_rows(row_filter, rows_C, verdicts_C)
    for near in range(rows_C.size):
        key, row = near_C3[near, 0], rows_C[near]
        if verdicts_C[near] == NONE or row == excluded_row:
            continue
        state[WITHIN] += key <= radius
        if key > state[LIMIT]:
            continue
        if state[COUNT] == items_R2.shape[0]:
            larger_R2 = np.empty((2 * items_R2.shape[0], 2), np.int64)
            larger_R2[: items_R2.shape[0]] = items_R2
            items_R2 = larger_R2
        count = state[COUNT]
        items_R2[count, 0] = (key << 32) | (signed(ranks_N[row]) if ranks_N.size else row)
        items_R2[count, 1] = row
        state[COUNT] = count + 1
        if state[COUNT] == state[NEXT]:
            _drop_last(state, items_R2, k)
    return items_R2


@compiled
def _drop_last(state: Int64s, items_R2: Int64s, k: int) -> None:
    """Drop all but the first k rows."""
    last = np.partition(items_R2[: state[COUNT], 0].copy(), k - 1)[k - 1]
    key = last >> 32
    if key < state[LIMIT]:
        state[LIMIT], state[DROPPED] = key, 0
    left = 0
    for place in range(state[COUNT]):
        if items_R2[place, 0] <= last:
            items_R2[left, 0], items_R2[left, 1] = items_R2[place, 0], items_R2[place, 1]
            left += 1
        else:
            state[DROPPED] += items_R2[place, 0] >> 32 == key
    state[COUNT], state[NEXT] = left, k + max(k, TOGETHER)


@compiled
def first_rows_kept(
    state: Int64s, items_R2: Int64s, k: int, codes_WN: Words, query_W: Words, words_P: Int64s
) -> tuple[Int64s, Int64s, Int64s, int]:
    """Return rows_K, their keys_K, distances_KP of their parts, and how many more rows have the last key.

    ``words_P``: words of each part.
    """
    count = state[COUNT]
    order_R = np.argsort(items_R2[:count, 0].copy())
    size = min(k, count)
    rows_K, keys_K = np.empty(size, np.int64), np.empty(size, np.int64)
    distances_KP = np.zeros((size, words_P.size), np.int64)
    for place in range(size):
        rows_K[place], keys_K[place] = items_R2[order_R[place], 1], items_R2[order_R[place], 0] >> 32
        word = 0
        for part in range(words_P.size):
            for _ in range(words_P[part]):
                distances_KP[place, part] += popcount(codes_WN[word, rows_K[place]] ^ query_W[word])
                word += 1
    tied = state[DROPPED] if size and state[LIMIT] == keys_K[size - 1] else 0
    for place in range(size, count):
        tied += items_R2[order_R[place], 0] >> 32 == keys_K[size - 1]
    return rows_K, keys_K, distances_KP, tied


def merge(kept: list[Kept], k: int) -> Kept:
    """Return what one search over all rows would have kept, given what searches over different rows have."""
    if len(kept) == 1:
        return kept[0]
    items_R2 = np.concatenate([items_R2[: state[COUNT]] for state, items_R2 in kept])
    state = np.sum([state for state, _ in kept], axis=0)
    state[LIMIT] = min(state[LIMIT] for state, _ in kept)
    if len(items_R2) >= k:
        state[LIMIT] = min(state[LIMIT], np.partition(items_R2[:, 0], k - 1)[k - 1] >> 32)
    state[DROPPED] = sum(one[DROPPED] for one, _ in kept if one[LIMIT] == state[LIMIT])
    return Kept(state, items_R2)
