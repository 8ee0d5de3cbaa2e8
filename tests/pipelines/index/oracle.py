"""The slow reference, and codes to search.

Shapes: N codes, Y bytes a code.
"""

import numpy as np


def nearest(codes_NY, code_Y, k=None, max_distance=None, *, ranks_N=None, mask_N=None, excluded_row=None):
    """Return (rows, distances, kth_distance, ties_at_cutoff, within), in plain numpy."""
    distances_N = np.bitwise_count(codes_NY ^ code_Y).sum(axis=1, dtype=int)
    wanted_N = np.ones(len(codes_NY), bool) if mask_N is None else mask_N.copy()
    if excluded_row is not None:
        wanted_N[excluded_row] = False
    if max_distance is not None:
        wanted_N &= distances_N <= max_distance
    rows = np.flatnonzero(wanted_N)
    rows = rows[np.lexsort((rows if ranks_N is None else ranks_N[rows], distances_N[rows]))]
    kth = distances_N[rows[:k]][-1] if rows.size else None
    ties = int((distances_N[rows[k:]] == kth).sum()) if k is not None else 0
    within = None if max_distance is None else len(rows)
    return rows[:k].tolist(), distances_N[rows[:k]].tolist(), kth, ties, within


def answer(hits):
    """Return the same of an index's answer."""
    return (
        hits.rows_K.tolist(),
        hits.distances_K.tolist(),
        hits.kth_distance,
        hits.ties_at_cutoff,
        hits.within,
    )


def uniform(count, num_bytes, seed=0):
    """Random codes: the worst case."""
    return np.random.default_rng(seed).integers(0, 256, (count, num_bytes), np.uint8)


def clustered(count, num_bytes, seed=0, centres=20, flipped=0.08):
    """Codes as they are learned: near one of a few centres, many of them equal where codes are short."""
    rng = np.random.default_rng(seed)
    centres_CY = rng.integers(0, 256, (centres, num_bytes), np.uint8)
    noise_NY = np.packbits(rng.random((count, num_bytes * 8), np.float32) < flipped, axis=1)
    return centres_CY[rng.integers(0, centres, count)] ^ noise_NY


def one_bucket(count, num_bytes, seed=0):
    """Codes that differ in a few bits only, which no order of bits can spread over three substrings."""
    codes_NY = np.zeros((count, num_bytes), np.uint8)
    codes_NY[:, :3] = np.arange(count, dtype="<u4").view(np.uint8).reshape(-1, 4)[:, :3]
    return np.random.default_rng(seed).permutation(codes_NY)
