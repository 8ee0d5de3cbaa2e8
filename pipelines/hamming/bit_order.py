"""The order of bits in an index: so that substrings of trained codes are spread evenly over buckets.

Without it some buckets would be large, and multi-index hashing slow.

Each part of a code starts at a new word, so that a word belongs to one part.

Shapes: N codes, Y bytes a code, K bits, W words of 64 bits.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.jit import Words, compiled

_SAMPLE = 20_000  # codes by which correlations between bits are measured


def choose_order(codes_NY: NDArray[np.uint8], tables: int, length: int) -> NDArray[np.intp]:
    """Return the old place of each bit in the new order, for ``tables`` substrings of ``length`` bits.

    Bits are taken by falling variance. Each joins the substring whose bits it correlates with least
    (greedily, as in the data-oriented order of Wan et al., 2013). Bits beyond the substrings come last.
    """
    if not tables or not len(codes_NY):
        return np.arange(codes_NY.shape[1] * 8)
    step = max(1, len(codes_NY) // _SAMPLE)
    signs_NK = np.unpackbits(codes_NY[::step], axis=1, bitorder="little") * np.float32(2) - 1
    mean_K = signs_NK.mean(axis=0)
    covariance_KK = signs_NK.T @ signs_NK / len(signs_NK) - np.outer(mean_K, mean_K)
    variance_K = np.diag(covariance_KK).copy()
    scale_K = np.sqrt(np.maximum(variance_K, 1e-6))
    shared_KK = (covariance_KK / scale_K[:, None] / scale_K) ** 2
    members: list[list[int]] = [[] for _ in range(tables)]
    by_weight = np.argsort(-variance_K, kind="stable")
    for bit in by_weight[: tables * length]:
        free = [chosen for chosen in members if len(chosen) < length]
        min(free, key=lambda chosen: (shared_KK[bit, chosen].sum(), len(chosen))).append(int(bit))
    return np.array([bit for chosen in members for bit in chosen] + list(by_weight[tables * length :]))


def words_of(part_bits: Sequence[int]) -> int:
    """Return how many words a code takes."""
    return sum(-(-bits // 64) for bits in part_bits)


def bit_places(part_bits: Sequence[int]) -> NDArray[np.int64]:
    """Return for each bit its place in the words: place j is bit 63 - j % 64 of word j // 64."""
    places, word = [], 0
    for bits in part_bits:
        places.append(word * 64 + np.arange(bits))
        word += -(-bits // 64)
    return np.concatenate(places)


def lookup_table(order_K: NDArray[np.intp], part_bits: Sequence[int]) -> Words:
    """Return for each byte of a code and each of its 256 values the words_W of its bits in the new order."""
    table_YVW = np.zeros((order_K.size // 8, 256, words_of(part_bits)), np.uint64)
    values_V = np.arange(256, dtype=np.uint64)
    for place, old in zip(bit_places(part_bits).tolist(), order_K.tolist(), strict=True):
        bit_V = (values_V >> np.uint64(old % 8)) & np.uint64(1)
        table_YVW[old // 8, :, place // 64] |= bit_V << np.uint64(63 - place % 64)
    return table_YVW


@compiled
def reorder(codes_NY: NDArray[np.uint8], table_YVW: Words, out_WN: Words) -> None:
    """Write the codes as words in the new order."""
    for row in range(codes_NY.shape[0]):
        for word in range(out_WN.shape[0]):
            out_WN[word, row] = 0
            for byte in range(codes_NY.shape[1]):
                out_WN[word, row] |= table_YVW[byte, codes_NY[row, byte], word]


@compiled
def restore(words_W: Words, order_K: NDArray[np.intp], places_K: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return a code's bytes_Y in the table's own order; ``places_K`` as of `bit_places`."""
    code_Y = np.zeros(order_K.size >> 3, np.uint8)
    for new in range(order_K.size):
        bit = (words_W[places_K[new] >> 6] >> np.uint64(63 - (places_K[new] & 63))) & np.uint64(1)
        code_Y[order_K[new] >> 3] |= np.uint8(bit << np.uint64(order_K[new] & 7))
    return code_Y
