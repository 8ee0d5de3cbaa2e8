"""The operations of `simd` as plain loops, for processors without the vectors of `simd_llvm`.

Shapes: U codes, W words of 64 bits a code, E planes of bit weights.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import overload

from pipelines.hamming.jit import Int64s, Words, compiled

LANES = 8
"""Words in a vector of 512 bits. LLVM makes several vectors of them where the processor's are shorter."""
_PAIRS, _FOURS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_BYTES, _ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)


@compiled
def popcount(word: Any) -> int:
    """Count the bits of an uint64: of pairs, of fours, of bytes, then the sum of the bytes."""
    bits = np.uint64(word)
    bits = bits - ((bits >> np.uint64(1)) & _PAIRS)
    bits = (bits & _FOURS) + ((bits >> np.uint64(2)) & _FOURS)
    bits = (bits + (bits >> np.uint64(4))) & _BYTES
    return np.int64((bits * _ONES) >> np.uint64(56))  # type: ignore[return-value]


@compiled
def prefetch(array: Words, position: int) -> None:
    """Do nothing: memory is read when it is needed."""


@compiled
def _least_bits(words: Words, query: int) -> int:
    least = 255
    for place in range(words.size // LANES * LANES):
        least = min(least, popcount(words[place] ^ query))
    return least


def least_bits(words: Words, queries: tuple[int, ...], ahead: int) -> tuple[int, ...]:
    """Stand for the kernels that numba finds by the number of queries."""
    raise NotImplementedError("kernels call this, Python can't")


def _choose_least_bits(words: Words, queries: Any, ahead: int) -> Callable[..., tuple[int, ...]]:  # noqa: ARG001

    def of_one(words: Words, queries: Any, ahead: int) -> tuple[int, ...]:  # noqa: ARG001
        return (_least_bits(words, queries[0]),)

    def of_four(words: Words, queries: Any, ahead: int) -> tuple[int, ...]:  # noqa: ARG001
        one, two, three, four = queries
        return (
            _least_bits(words, one),
            _least_bits(words, two),
            _least_bits(words, three),
            _least_bits(words, four),
        )

    return of_one if len(queries) == 1 else of_four


overload(least_bits)(_choose_least_bits)


@compiled
def near_bits(words: Words, first: int, query: int, farthest: int) -> np.uint64:
    """Compare 64 words with a query."""
    near = np.uint64(0)
    for place in range(64):
        if popcount(words[first + place] ^ query) <= farthest:
            near |= np.uint64(1) << np.uint64(place)
    return near


@compiled
def near_sums(
    codes_WU: Words,
    first: int,
    order_W: Int64s,
    words: int,
    query_W: Words,
    masks_EW: Words,
    weights_EW: Int64s,
    farthest: int,
    ahead: int,  # noqa: ARG001
) -> np.uint64:
    """Compare 64 codes with a query in some of their words."""
    near = np.uint64(0)
    for place in range(64):
        total = 0
        for word in order_W[:words]:
            different = codes_WU[word, first + place] ^ query_W[word]
            for plane in range(masks_EW.shape[0]):
                total += weights_EW[plane, word] * popcount(different & masks_EW[plane, word])
        if total <= farthest:
            near |= np.uint64(1) << np.uint64(place)
    return near
