"""What a search has found so far, and how far away a code may be to matter still.

A search keeps every item at most ``limit`` bits away, and lowers the limit as soon as k rows are nearer: at
the end it has the k nearest, and all that tie with the last of them. An item is a group of rows with equal
codes, or a row; its weight is how many rows it stands for. Several queries share one list of items.

Shapes: Q queries, D = bits + 1 distances, M items, C near ones.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.kernels import compiled

Int64s = NDArray[np.int64]
ALL = np.iinfo(np.int64).max
"""As k: no such limit."""
TOGETHER = 64
"""Near codes dealt with at a time: with what some bring, others may no longer be near enough."""
_ROOM = 1024  # items to start with


class Found(NamedTuple):
    """The state of a search. Kernels change it in place."""

    counts_QD: Int64s
    """Rows found at each distance."""
    limits_Q: Int64s
    """Farthest distance that is kept [bits]; falls."""
    covered_Q: Int64s
    """Rows found within the limit."""
    totals: Int64s
    """How many items are kept, how many codes were compared."""


@compiled
def nothing_found(queries: int, limit: int, bits: int) -> tuple[Found, Int64s]:
    """Return the state at the start, and items_M3: nothing farther than ``limit`` will be kept."""
    found = Found(
        np.zeros((queries, bits + 1), np.int64),
        np.full(queries, limit, np.int64),
        np.zeros(queries, np.int64),
        np.zeros(2, np.int64),
    )
    return found, np.empty((_ROOM, 3), np.int64)


@compiled
def keep(found: Found, items_M3: Int64s, query: int, near_C3: Int64s, k: int) -> Int64s:
    """Take note of what is near, as (distance, item, weight); return ``items_M3``, or a larger one.

    Many at a time: each call counts the references to its arrays, which takes longer than an item.
    """
    counts_QD, limits_Q, covered_Q, totals = found
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
            items_M3 = _with_room(found, items_M3)
        count = totals[0]
        items_M3[count, 0], items_M3[count, 1], items_M3[count, 2] = query, near_C3[near, 0], near_C3[near, 1]
        totals[0] = count + 1
    return items_M3


@compiled
def drop_far(near_C3: Int64s, farthest: int) -> int:
    """Move to the front what is near enough; return how many are."""
    left = 0
    for near in range(near_C3.shape[0]):
        if near_C3[near, 0] <= farthest:
            near_C3[left, 0], near_C3[left, 1] = near_C3[near, 0], near_C3[near, 1]
            left += 1
    return left


@compiled
def _with_room(found: Found, items_M3: Int64s) -> Int64s:
    """Drop what the limits have passed over; where that isn't half of it, double the room."""
    kept = 0
    for index in range(found.totals[0]):
        if items_M3[index, 1] <= found.limits_Q[items_M3[index, 0]]:
            items_M3[kept] = items_M3[index]
            kept += 1
    found.totals[0] = kept
    if 2 * kept < items_M3.shape[0]:
        return items_M3
    larger_M3 = np.empty((2 * items_M3.shape[0], 3), np.int64)
    larger_M3[:kept] = items_M3[:kept]
    return larger_M3


def merged(parts: list[tuple[Found, Int64s]], k: int) -> tuple[Found, Int64s]:
    """Return the state as if one search had seen what several have."""
    if len(parts) == 1:
        return parts[0][0], parts[0][1][: parts[0][0].totals[0]]
    counts_QD = np.sum([found.counts_QD for found, _ in parts], axis=0)
    limits_Q = np.min([found.limits_Q for found, _ in parts], axis=0)
    nearer_QD = counts_QD.cumsum(axis=1)
    for query, limit in enumerate(limits_Q):
        limits_Q[query] = min(limit, np.searchsorted(nearer_QD[query], k))
    covered_Q = nearer_QD[np.arange(len(limits_Q)), limits_Q]
    totals = np.sum([found.totals for found, _ in parts], axis=0)
    items_M3 = np.concatenate([items_M3[: found.totals[0]] for found, items_M3 in parts])
    return Found(counts_QD, limits_Q, covered_Q, totals), items_M3
