"""The slow reference, and codes to search.

Shapes: N codes, Y bytes a code, P parts, K bits.
"""

import numpy as np

from pipelines.hamming.limits import Limits
from pipelines.hamming.row_filter import EVERY_ROW, filter_by_mask


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


def part_sums(codes_NY, code_Y, part_bits, weights_K=None):
    """Return for each code and part how many bits differ, or the sum of the weights of these."""
    bits_NK = np.unpackbits(codes_NY ^ code_Y, axis=1, bitorder="little").astype(np.int64)
    weighted_NK = bits_NK if weights_K is None else bits_NK * weights_K
    ends = np.cumsum(part_bits)
    return np.stack(
        [weighted_NK[:, end - bits : end].sum(axis=1) for end, bits in zip(ends, part_bits, strict=True)],
        axis=1,
    )


def first_rows(sums_NP, comparison, ranks_N, k=None, max_distance=None, *, mask_N=None, excluded_row=None):
    """Return (rows, distances, ties, ties_at_cutoff, within), in plain numpy."""
    distances_N, ties_N = sums_NP @ np.array(comparison.weights), sums_NP @ np.array(comparison.tie_weights)
    wanted_N = np.ones(len(sums_NP), bool) if mask_N is None else mask_N.copy()
    if excluded_row is not None:
        wanted_N[excluded_row] = False
    if max_distance is not None:
        wanted_N &= distances_N <= max_distance
    rows = np.flatnonzero(wanted_N)
    rows = rows[np.lexsort((ranks_N[rows], ties_N[rows], distances_N[rows]))]
    first, rest = rows[:k], rows[len(rows[:k]) :]
    tied = (
        (distances_N[rest] == distances_N[first[-1]]) & (ties_N[rest] == ties_N[first[-1]])
        if first.size
        else rest
    )
    within = None if max_distance is None else len(rows)
    return first.tolist(), distances_N[first].tolist(), ties_N[first].tolist(), int(tied.sum()), within


def weighted_answer(hits):
    """Return the same of an index's answer."""
    assert hits.kth_distance == (hits.distances_K[-1] if hits.rows_K.size else None)
    return (
        hits.rows_K.tolist(),
        hits.distances_K.tolist(),
        hits.ties_K.tolist(),
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


def limits_of(k=None, max_distance=None, excluded_row=None, mask_N=None):
    """The limits of a search, as the oracles here take them."""
    excluded = () if excluded_row is None else (excluded_row,)
    return Limits(k, max_distance, excluded, EVERY_ROW if mask_N is None else filter_by_mask(mask_N))
