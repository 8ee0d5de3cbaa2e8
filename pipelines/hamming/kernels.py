"""What several kernels share: Hamming distances of a run of codes, and fields of bits.

Shapes: U codes, W words of 64 bits a code, B codes of a block, Q queries. Codes lie word by word, codes_WU:
each step of a scan reads memory in order.
"""

import numpy as np

from pipelines.hamming.jit import Int64s, Words, compiled, signed
from pipelines.hamming.simd import LANES, least_bits, popcount

SHARED = 4
"""Queries that share what is read of the codes."""


@compiled
def distances(codes_WU: Words, first: int, last: int, query_W: Words, out_B: Int64s) -> int:
    """Fill ``out_B`` with the distances of codes ``first`` to ``last``; return the least of them."""
    size = last - first
    row_B = codes_WU[0, first:last]
    query = query_W[0]
    for offset in range(size):
        out_B[offset] = popcount(row_B[offset] ^ query)
    for word in range(1, codes_WU.shape[0]):
        row_B = codes_WU[word, first:last]
        query = query_W[word]
        for offset in range(size):
            out_B[offset] += popcount(row_B[offset] ^ query)
    least = signed(out_B[0])
    for offset in range(size):
        least = min(least, out_B[offset])
    return least


@compiled
def least_distance(codes_B: Words, query: int, ahead: int) -> int:
    """Return the least distance among codes of one word; nothing is stored, so that memory alone limits.

    Codes that lie so far ``ahead`` are brought to the cache meanwhile.
    """
    (least,) = least_bits(codes_B, (query,), ahead)
    for offset in range(codes_B.size // LANES * LANES, codes_B.size):
        least = min(least, popcount(codes_B[offset] ^ query))
    return least


@compiled
def least_distances(codes_B: Words, queries_Q: Words, first: int, out_4: Int64s) -> None:
    """Write the least distance to each of `SHARED` queries among codes of one word, which are read once.

    ``first``: the first of these queries; where there are too few behind it, the last stands for the others.
    """
    last = queries_Q.size - 1
    one, two = queries_Q[min(first, last)], queries_Q[min(first + 1, last)]
    three, four = queries_Q[min(first + 2, last)], queries_Q[min(first + 3, last)]
    out_4[0], out_4[1], out_4[2], out_4[3] = least_bits(codes_B, (one, two, three, four), 0)
    for offset in range(codes_B.size // LANES * LANES, codes_B.size):
        for place in range(SHARED):
            query = queries_Q[min(first + place, last)]
            out_4[place] = min(out_4[place], popcount(codes_B[offset] ^ query))


@compiled
def bit_field(word: int, following: int, skipped: int, length: int) -> int:
    """Return ``length`` bits (1..32) of a word behind its ``skipped`` first, running into the next word."""
    field = word << np.uint64(skipped)
    if skipped + length > 64:
        field |= following >> np.uint64(64 - skipped)
    return signed(field >> np.uint64(64 - length))
