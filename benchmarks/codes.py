"""Codes to search: as they are learned, as badly as they can be, and real ones.

Shapes: N codes, Y bytes a code, K bits.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Nearest = tuple[NDArray[np.intp], NDArray[np.integer]]
"""rows_K, distances_K"""
_CENTRES, _FLIPPED = 1000, 0.08
_CHUNK = 1 << 19


def learned_like(count: int, bits: int, seed: int = 0) -> Codes:
    """Return codes near one of 1000 centres, the same for every seed; each bit flipped with p = .08."""
    centres_CY = np.random.default_rng(2026).integers(0, 256, (_CENTRES, bits // 8), np.uint8)
    rng = np.random.default_rng(seed)
    return _noisy(centres_CY, count, bits, rng, _FLIPPED)


def uniform(count: int, bits: int, seed: int = 0) -> Codes:
    """Return random codes: nothing is near anything."""
    return np.random.default_rng(seed).integers(0, 256, (count, bits // 8), np.uint8)


def tiled(path: Path, count: int, seed: int = 0) -> Codes:
    """Return the codes_NY of a .npy file over and over, each bit flipped with p = .02."""
    codes_NY = np.load(path)
    return _noisy(codes_NY, count, codes_NY.shape[1] * 8, np.random.default_rng(seed), 0.02)


def _noisy(centres_CY: Codes, count: int, bits: int, rng: np.random.Generator, flipped: float) -> Codes:
    codes_NY = np.empty((count, bits // 8), np.uint8)
    threshold = np.uint16(round(flipped * 65536))
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        flips_NK = rng.integers(0, 65536, (size, bits), np.uint16) < threshold
        codes_NY[start : start + size] = centres_CY[rng.integers(0, len(centres_CY), size)]
        codes_NY[start : start + size] ^= np.packbits(flips_NK, axis=1)
    return codes_NY


def all_nearest(codes_NY: Codes, queries_QY: Codes, k: int) -> list[Nearest]:
    """Return `nearest` of each query, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda code_Y: nearest(codes_NY, code_Y, k), queries_QY))


def nearest(codes_NY: Codes, code_Y: Codes, k: int) -> Nearest:
    """Return (rows, distances) in plain numpy, nearest first, ties by row: what every answer must equal."""
    words_NW = codes_NY.view(np.uint64)
    distances_N = np.bitwise_count(words_NW[:, 0] ^ code_Y.view(np.uint64)[0]).astype(np.uint16)
    for word in range(1, words_NW.shape[1]):
        distances_N += np.bitwise_count(words_NW[:, word] ^ code_Y.view(np.uint64)[word])
    kth = np.searchsorted(np.bincount(distances_N, minlength=1).cumsum(), k)
    rows = np.flatnonzero(distances_N <= kth)
    rows = rows[np.argsort(distances_N[rows], kind="stable")][:k]
    return rows, distances_N[rows]
