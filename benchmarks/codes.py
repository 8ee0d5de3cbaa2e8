"""Codes to search: as they are learned, as badly as they can be, and real ones.

Shapes: N codes, R real codes, Y bytes a code, K bits, C classes, F factors, L look bits.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Nearest = tuple[NDArray[np.intp], NDArray[np.integer]]
"""rows_K, distances_K"""
_CENTRES, _FLIPPED = 1000, 0.08
_REAL, _CLASSES, _FACTORS = 13_194, 30, 24  # composite codes to tile
_CHUNK = 1 << 19


def learned_like(count: int, bits: int, seed: int = 0) -> Codes:
    """Return codes near one of 1000 centres, the same for every seed; each bit flipped with p = .08."""
    centres_CY = np.random.default_rng(2026).integers(0, 256, (_CENTRES, bits // 8), np.uint8)
    return _noisy(centres_CY, count, bits, np.random.default_rng(seed), _FLIPPED)


def uniform(count: int, bits: int, seed: int = 0) -> Codes:
    """Return random codes: nothing is near anything."""
    return np.random.default_rng(seed).integers(0, 256, (count, bits // 8), np.uint8)


def tiled(codes_RY: Codes, count: int, flipped: float, seed: int = 0) -> Codes:
    """Return real codes over and over, in no order, each bit flipped with p = ``flipped``."""
    sizes = [min(_CHUNK, count - start) for start in range(0, count, _CHUNK)]
    streams = np.random.default_rng(seed).spawn(len(sizes))  # one a chunk: the same on any number of cores
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = pool.map(
            lambda size, rng: _noisy(codes_RY, size, codes_RY.shape[1] * 8, rng, flipped), sizes, streams
        )
        return np.concatenate(list(chunks))


def composite_like(count: int = _REAL) -> Codes:
    """Return stand-ins for codes of 64 kind and 192 look bits, for where no real ones are at hand.

    30 classes, each with a target for its kind bits far from the others'; the kind bits of two codes of a
    class differ in about 6 of 64. Look bits are signs of what varies together: the class's part, 24 factors
    and noise; two of a class differ in about 81 of 192, two of different classes in 96.
    """
    rng = np.random.default_rng(7)
    classes_R = rng.integers(0, _CLASSES, count)
    factors_RF = rng.normal(size=(count, _FACTORS)).astype(np.float32)
    hadamard_KK = reduce(np.kron, [np.array([[1, 1], [1, -1]])] * 6)
    targets_CK = hadamard_KK[rng.permutation(64)[:_CLASSES]]
    mixing_FK = rng.normal(size=(_FACTORS, 64)) / _FACTORS**0.5
    noise_RK = rng.normal(size=(count, 64)) * 0.5
    kind_RK = 1.8 * targets_CK[classes_R] + factors_RF @ mixing_FK + noise_RK
    means_CL = rng.normal(size=(_CLASSES, 192)) * 0.6
    mixing_FL = rng.normal(size=(_FACTORS, 192)) / _FACTORS**0.5
    look_RL = means_CL[classes_R] + factors_RF @ mixing_FL + rng.normal(size=(count, 192)) * 0.5
    return np.packbits(np.concatenate([kind_RK, look_RL], axis=1) > 0, axis=1, bitorder="little")


def _noisy(centres_CY: Codes, count: int, bits: int, rng: np.random.Generator, flipped: float) -> Codes:
    """Return codes of centres chosen at random, each bit flipped with p = ``flipped``."""
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
