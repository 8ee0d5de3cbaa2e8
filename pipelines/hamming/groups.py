"""Groups of rows with equal codes: each code is stored once, as trained codes repeat a lot.

Groups are ordered by code, the rows of a group in the order that breaks ties.

Shapes: N rows, U groups (distinct codes), W words a code, C near groups, R rows asked for.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.jit import Int64s, UInt32s, Words, compiled, signed
from pipelines.hamming.row_filter import NONE, PASS_ALL, RowFilter, judge_rows
from pipelines.hamming.top_k import TOGETHER

THREADS = min(8, os.cpu_count() or 1)
"""Threads that build an index; more of them would only wait for memory."""
_SAMPLE = 100_000  # codes by which the bounds of ranges of about equal size are chosen


class Groups(NamedTuple):
    """Distinct codes and the rows that have them."""

    codes_WU: Words
    starts_U: UInt32s
    """Where each group's rows start, and one more at the end; empty where no code repeats."""
    rows_N: UInt32s
    """Rows, group after group."""


def group_rows(codes_WN: Words, ranks_N: UInt32s) -> Groups:
    """Return the groups; rows of a group are in the order of ``ranks_N``, or of rows if it is empty.

    The codes are divided into ranges of their first word; each thread sorts some of them.
    """
    sample = np.sort(codes_WN[0, :: max(1, codes_WN.shape[1] // _SAMPLE)])
    bounds = sample[np.arange(1, THREADS) * sample.size // THREADS].tolist() if sample.size else []
    ranks_N = ranks_N if ranks_N.size else np.arange(codes_WN.shape[1], dtype=np.uint32)
    with ThreadPoolExecutor(THREADS) as pool:
        ranges = pairwise([0, *bounds, None])
        parts = list(pool.map(lambda ends: _group_range(codes_WN, ranks_N, *ends), ranges))
    order_N = np.concatenate([order_R for order_R, _ in parts])
    starts_U = np.flatnonzero(np.concatenate([begins_R for _, begins_R in parts])).astype(np.uint32)
    codes_WU = np.take(codes_WN, order_N[starts_U], axis=1)
    if starts_U.size == order_N.size:
        return Groups(codes_WU, np.empty(0, np.uint32), order_N)
    return Groups(codes_WU, np.append(starts_U, np.uint32(order_N.size)), order_N)


def joined_groups(groups: Groups, words: int) -> Groups:
    """Return the groups of rows whose first ``words`` words are equal, given those of equal codes."""
    codes_VU = groups.codes_WU[:words]
    begins_U = np.ones(codes_VU.shape[1], bool)
    begins_U[1:] = (codes_VU[:, 1:] != codes_VU[:, :-1]).any(axis=0)
    firsts = np.flatnonzero(begins_U)
    if firsts.size == groups.rows_N.size:
        return Groups(np.ascontiguousarray(codes_VU), groups.starts_U, groups.rows_N)
    starts_U = groups.starts_U[firsts] if groups.starts_U.size else firsts.astype(np.uint32)
    starts_U = np.append(starts_U, np.uint32(groups.rows_N.size))
    return Groups(np.ascontiguousarray(codes_VU[:, firsts]), starts_U, groups.rows_N)


def _group_range(
    codes_WN: Words, ranks_N: UInt32s, first: int, end: int | None
) -> tuple[UInt32s, NDArray[np.bool_]]:
    """Return the rows whose first word is in a range, in the order of groups, and which of them begin one."""
    chosen_N = codes_WN[0] >= np.uint64(first)
    if end is not None:
        chosen_N &= codes_WN[0] < np.uint64(end)
    order_R = np.flatnonzero(chosen_N).astype(np.uint32)
    order_R = order_R[np.argsort(codes_WN[0, order_R])]
    follows_R = np.zeros(
        order_R.size, bool
    )  # whether a row's words compared so far equal those of the row before
    follows_R[1:] = _equal_neighbours(codes_WN[0], order_R)
    for words_N in codes_WN[1:]:
        _order_runs(words_N, order_R, follows_R)
        follows_R[1:] &= _equal_neighbours(words_N, order_R)
    _order_runs(ranks_N, order_R, follows_R)
    return order_R, ~follows_R


def _equal_neighbours(keys_N: NDArray[np.unsignedinteger], order_N: UInt32s) -> NDArray[np.bool_]:
    sorted_N = keys_N[order_N]
    return np.asarray(sorted_N[1:] == sorted_N[:-1])


@compiled
def _order_runs(keys_N: NDArray[np.unsignedinteger], order_N: UInt32s, follows_N: NDArray[np.bool_]) -> None:
    """Order the rows of each run, whose words compared so far are equal, by a further key."""
    first = 0
    while first < order_N.size:
        last = first + 1
        while last < order_N.size and follows_N[last]:
            last += 1
        if last - first > 1:
            run_R = order_N[first:last].copy()
            order_N[first:last] = run_R[np.argsort(keys_N[run_R])]
        first = last


@compiled
def first_row(starts_U: UInt32s, group: int) -> int:
    """Return where a group's rows start; ``group`` may be one past the last."""
    return signed(starts_U[group]) if starts_U.size else group


@compiled
def is_less(codes_WU: Words, position: int, code_W: Words) -> bool:
    """Return whether the code at a position comes before another in the order of groups."""
    for word in range(codes_WU.shape[0]):
        if codes_WU[word, position] != code_W[word]:
            return bool(codes_WU[word, position] < code_W[word])
    return False


@compiled
def find_group(codes_WU: Words, code_W: Words, first: int, last: int) -> int:
    """Return the group of a code among groups ``first`` to ``last``, or -1 if no row has the code."""
    low, high = signed(first), signed(last)
    while low < high:
        middle = (low + high) >> 1
        if is_less(codes_WU, middle, code_W):
            low = middle + 1
        else:
            high = middle
    if low == signed(last):
        return -1
    for word in range(codes_WU.shape[0]):
        if codes_WU[word, low] != code_W[word]:
            return -1
    return low


@compiled
def weigh(
    groups: Groups, near_C3: Int64s, excluded_row: int, excluded_group: int, row_filter: RowFilter
) -> None:
    """Write how many rows of each group may be answers, near_C3 being (distance, group, weight).

    These are the rows that pass the filter, except the excluded one.
    """
    _, starts_U, rows_N = groups
    if row_filter.kind == PASS_ALL:
        for near in range(near_C3.shape[0]):
            group = near_C3[near, 1]
            size = signed(starts_U[group + 1]) - signed(starts_U[group]) if starts_U.size else 1
            near_C3[near, 2] = size - (1 if group == excluded_group else 0)
        return
    rows_R, owners_R = np.empty(TOGETHER, np.int64), np.empty(TOGETHER, np.int64)
    count = 0
    for near in range(near_C3.shape[0]):
        group = near_C3[near, 1]
        near_C3[near, 2] = 0
        for place in range(first_row(starts_U, group), first_row(starts_U, group + 1)):
            rows_R[count], owners_R[count] = rows_N[place], near
            count += rows_R[count] != excluded_row
            if count == TOGETHER:
                _add_selected(row_filter, rows_R, owners_R, near_C3)
                count = 0
    _add_selected(row_filter, rows_R[:count], owners_R, near_C3)


@compiled
def _add_selected(row_filter: RowFilter, rows_R: Int64s, owners_R: Int64s, near_C3: Int64s) -> None:
    verdicts_R = np.empty(rows_R.size, np.uint8)
    judge_rows(row_filter, rows_R, verdicts_R)
    for index in range(rows_R.size):
        near_C3[owners_R[index], 2] += verdicts_R[index] != NONE
