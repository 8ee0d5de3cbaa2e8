"""The k nearest items that a search has found so far, and how far away a code may be to be one of them.

An item is a group of rows with equal codes, or a single row; its weight is the number of its rows that may be
answers. A search pushes every item that is at most ``limit`` bits away, and lowers the limit as soon as k
rows are nearer: at the end it has the k nearest rows, and all that tie with the last of them. Several queries
share one list of items.

Shapes: Q queries, D = bits + 1 distances, M items, C near items.

items_M3 is the list of items, one in each line: (query, distance [bits], item), the item being the number of
a group or of a row. Only the first ``totals[0]`` lines are in use. It is not a field of `TopK` because it
grows: a kernel that pushes returns it, or the larger array that replaces it.
"""

from typing import NamedTuple

import numpy as np

from pipelines.hamming.jit import Int64s, compiled

ALL = np.iinfo(np.int64).max
"""As k: every row within the radius."""
TOGETHER = 64
"""Near codes handled in one step. After each step the limit may be lower, and the others may be too far."""
_ROOM = 1024  # items to start with


class TopK(NamedTuple):
    """The state of a search. Kernels change it in place."""

    counts_QD: Int64s
    """Rows found at each distance."""
    limits_Q: Int64s
    """Greatest distance of an item that is kept [bits]; falls as nearer rows are found."""
    covered_Q: Int64s
    """Rows found within the limit."""
    totals: Int64s
    """How many items are kept, and how many codes were compared."""


@compiled
def empty_top_k(queries: int, limit: int, bits: int) -> tuple[TopK, Int64s]:
    """Return the state at the start, and an empty items_M3. No item farther than ``limit`` is kept."""
    top_k = TopK(
        np.zeros((queries, bits + 1), np.int64),
        np.full(queries, limit, np.int64),
        np.zeros(queries, np.int64),
        np.zeros(2, np.int64),
    )
    return top_k, np.empty((_ROOM, 3), np.int64)


@compiled
def push(top_k: TopK, items_M3: Int64s, query: int, near_C3: Int64s, k: int) -> Int64s:
    """Push near items, near_C3 being (distance, item, weight); return ``items_M3``, or a larger one.

    Called for many items at a time: numba counts the references to the arrays of each call, which takes
    longer than to push an item.
    """
    counts_QD, limits_Q, covered_Q, totals = top_k
    limit, covered = limits_Q[query], covered_Q[query]
    for near in range(near_C3.shape[0]):
        distance, weight = near_C3[near, 0], near_C3[near, 2]
        counts_QD[query, distance] += weight
        covered += weight * np.int64(distance <= limit)
    while covered - counts_QD[query, limit] >= k:
        covered -= counts_QD[query, limit]
        limit -= 1
    limits_Q[query], covered_Q[query] = limit, covered
    for near in range(near_C3.shape[0]):
        if near_C3[near, 0] > limit or not near_C3[near, 2]:
            continue
        if totals[0] == items_M3.shape[0]:
            items_M3 = _with_room(top_k, items_M3)
        count = totals[0]
        items_M3[count, 0], items_M3[count, 1], items_M3[count, 2] = query, near_C3[near, 0], near_C3[near, 1]
        totals[0] = count + 1
    return items_M3


@compiled
def drop_far(near_C3: Int64s, farthest: int) -> int:
    """Move to the front the items that are at most ``farthest`` away; return how many these are."""
    left = 0
    for near in range(near_C3.shape[0]):
        if near_C3[near, 0] <= farthest:
            near_C3[left, 0], near_C3[left, 1] = near_C3[near, 0], near_C3[near, 1]
            left += 1
    return left


@compiled
def _with_room(top_k: TopK, items_M3: Int64s) -> Int64s:
    """Drop the items beyond the limits; if more than half are left, double the room."""
    kept = 0
    for index in range(top_k.totals[0]):
        if items_M3[index, 1] <= top_k.limits_Q[items_M3[index, 0]]:
            items_M3[kept] = items_M3[index]
            kept += 1
    top_k.totals[0] = kept
    if 2 * kept < items_M3.shape[0]:
        return items_M3
    larger_M3 = np.empty((2 * items_M3.shape[0], 3), np.int64)
    larger_M3[:kept] = items_M3[:kept]
    return larger_M3


def merge(parts: list[tuple[TopK, Int64s]], k: int) -> tuple[TopK, Int64s]:
    """Return the state and the items of several searches as if one search had gone over all their codes."""
    if len(parts) == 1:
        return parts[0][0], parts[0][1][: parts[0][0].totals[0]]
    counts_QD = np.sum([top_k.counts_QD for top_k, _ in parts], axis=0)
    limits_Q = np.min([top_k.limits_Q for top_k, _ in parts], axis=0)
    nearer_QD = counts_QD.cumsum(axis=1)
    for query, limit in enumerate(limits_Q):
        limits_Q[query] = min(limit, np.searchsorted(nearer_QD[query], k))
    covered_Q = nearer_QD[np.arange(len(limits_Q)), limits_Q]
    totals = np.sum([top_k.totals for top_k, _ in parts], axis=0)
    items_M3 = np.concatenate([items_M3[: top_k.totals[0]] for top_k, items_M3 in parts])
    return TopK(counts_QD, limits_Q, covered_Q, totals), items_M3
