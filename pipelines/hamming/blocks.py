"""Codes in parts in the order in which they are scanned: blocks of rows with similar first parts.

Centres are chosen for the first parts of the codes. Each row belongs to the nearest centre; rows are ordered
by centre, then by distance to it. A block has at most `BLOCK_ROWS` rows, all of one centre. By the triangle
inequality the first part of a query q is at least max(H(q, centre) - farthest, nearest - H(q, centre)) bits
away from each row of a block. So most blocks are ruled out unread where the first part counts.

Shapes: N rows, W words a code, V words of the first part, B blocks, C centres, S sampled codes, K bits.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.groups import THREADS
from pipelines.hamming.jit import UInt32s, Words, compiled
from pipelines.hamming.simd import popcount

BLOCK_ROWS = 1024
"""Most rows of a block. Their first words take 8 kB, so a block fits in the cache beside the next one."""
_CENTRES = 256  # at most; their numbers are kept in 16 bits
_ROWS_OF_A_CENTRE = 1024
_SAMPLE, _ROUNDS = 20_000, 5
_STRIDE = 512


class Blocks(NamedTuple):
    """The rows in the order of a scan, and what is known of each block."""

    codes_WU: Words
    """Codes in this order; empty where codes have one part."""
    rows_U: UInt32s
    starts_B: UInt32s
    """Where each block starts, and one more at the end."""
    centres_B: NDArray[np.uint16]
    nearest_B: NDArray[np.uint16]
    """Least distance of a row's first part to the centre [bits]."""
    farthest_B: NDArray[np.uint16]
    centres_CV: Words
    """First parts of the centres."""


def no_blocks() -> Blocks:
    """Return the empty blocks of an index of codes with one part."""
    short, word = np.empty(0, np.uint16), np.empty((0, 0), np.uint64)
    return Blocks(word, np.empty(0, np.uint32), np.zeros(1, np.uint32), short, short, short, word)


def build_blocks(codes_WN: Words, first_words: int) -> Blocks:
    """Return the blocks; the first part of a code is its first ``first_words`` words."""
    rows = codes_WN.shape[1]
    first_VN = codes_WN[:first_words]
    centres_CV = choose_centres(first_VN, min(_CENTRES, -(-rows // _ROWS_OF_A_CENTRE)))
    places_N = np.empty(rows, np.uint64)
    bounds = [rows * part // THREADS for part in range(THREADS + 1)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda p: _assign(first_VN, centres_CV, p[0], p[1], places_N), pairwise(bounds)))
    places_N.sort()
    rows_U = (places_N & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    distances_U = (places_N >> np.uint64(32)).astype(np.uint16)
    centres_U = (places_N >> np.uint64(48)).astype(np.uint16)
    firsts = np.flatnonzero(np.diff(centres_U, prepend=np.uint16(_CENTRES)))
    lasts = np.append(firsts, rows)[1:]
    blocks = [np.arange(first, last, BLOCK_ROWS) for first, last in zip(firsts, lasts, strict=True)]
    starts_B = np.concatenate([*blocks, [rows]]).astype(np.uint32)
    return Blocks(
        np.ascontiguousarray(np.take(codes_WN, rows_U, axis=1)),
        rows_U,
        starts_B,
        centres_U[starts_B[:-1]],
        distances_U[starts_B[:-1]],
        distances_U[starts_B[1:].astype(np.int64) - 1],
        centres_CV,
    )


def choose_centres(first_VN: Words, count: int) -> Words:
    """Return centres_CV, each the bitwise median of the sampled codes nearest to it (k-medians)."""
    words, rows = first_VN.shape
    sample_SV = np.ascontiguousarray(first_VN[:, :: max(1, rows // _SAMPLE)].T)
    signs_SK = np.unpackbits(sample_SV.view(np.uint8), axis=1) * np.float32(2) - 1
    rng = np.random.default_rng(0)
    centres_CK = signs_SK[rng.permutation(len(signs_SK))[:count]]
    for _ in range(_ROUNDS if count > 1 else 0):
        nearest_S = (signs_SK @ centres_CK.T).argmax(axis=1)
        sums_CK = np.zeros_like(centres_CK)
        np.add.at(sums_CK, nearest_S, signs_SK)
        centres_CK = np.where(sums_CK == 0, centres_CK, np.sign(sums_CK))
    packed = np.packbits(centres_CK > 0, axis=1)
    return np.ascontiguousarray(packed).view(np.uint64).reshape(-1, words)


@compiled
def _assign(first_VN: Words, centres_CV: Words, start: int, end: int, places_N: Words) -> None:
    """Write (centre << 48 | distance << 32 | row) for rows ``start`` to ``end``."""
    best_R, distances_R = np.empty(_STRIDE, np.int64), np.empty(_STRIDE, np.int64)
    for first in range(start, end, _STRIDE):
        size = min(_STRIDE, end - first)
        best_R[:] = 1 << 40
        for centre in range(centres_CV.shape[0]):
            distances_R[:] = 0
            for word in range(first_VN.shape[0]):
                words_R, value = first_VN[word, first : first + size], centres_CV[centre, word]
                for offset in range(size):
                    distances_R[offset] += popcount(words_R[offset] ^ value)
            for offset in range(size):
                best_R[offset] = min(best_R[offset], (distances_R[offset] << 16) | centre)
        for offset in range(size):
            centre, distance = best_R[offset] & 0xFFFF, best_R[offset] >> 16
            places_N[first + offset] = (centre << 48) | (distance << 32) | (first + offset)
