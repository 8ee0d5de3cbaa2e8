"""Which codes of a run are near a query, word by word: no more words are read than it takes to rule out most.

Shapes: U codes, W words a code, E planes of bit weights, C near codes.
"""

from typing import NamedTuple

import numpy as np

from pipelines.hamming.jit import Int64s, Plain, Words, compiled
from pipelines.hamming.simd import near_sums, popcount
from pipelines.hamming.top_k import drop_far

_FEW = 4
"""If at most so many of 64 codes can still be near, it is faster to compare these one by one in all words
than all 64 in one more word."""
_USUAL = 0.45
"""Share of a word's bits that differ between two codes that have little in common."""


class Asked(NamedTuple):
    """A query, and how codes are compared with it.

    The key of a code is the sum over planes and words of weights_EW * popcount((code ^ query) & masks_EW).
    Where each bit counts once, one plane holds all bits. Where bits have weights, plane e holds the bits
    whose weights have 2^e in them.
    """

    query_W: Words
    masks_EW: Words
    weights_EW: Int64s
    own_W: Int64s
    """The words with a weight above 0, those of the first part first."""
    others_W: Int64s
    """The same words, those of the first part last."""
    others: int
    """How many of these words belong to other parts."""


@compiled
def bits_alike(words: int) -> tuple[Words, Int64s, Int64s, Int64s, int]:
    """Return all fields of `Asked` after ``query_W``, for codes of one part whose bits all count once."""
    order_W = np.arange(words)
    return np.full((1, words), ~np.uint64(0)), np.ones((1, words), np.int64), order_W, order_W, 0


@compiled
def find_near(
    codes_WU: Words,
    run: tuple[int, int, int],
    asked: Plain,
    bound: int,
    middle: int,
    farthest: int,
    steps_1: Int64s,
    near_C3: Int64s,
    near: int,
) -> int:
    """Write (key, place) of each code of a run whose key is at most ``farthest``, behind ``near`` others.

    ``run``: the first place; the end; how far ahead the codes lie that are compared next. ``bound``: the
    least that the first part can add to the key of any code of the run; ``middle``: about what it adds.
    ``steps_1`` holds how many words were needed last time. Returns how many codes near_C3 holds then.
    """
    query_W, masks_EW, weights_EW, own_W, others_W, others = asked
    start, end, ahead = run
    order_W, bounded = own_W, 0
    if others and _others_first(masks_EW, weights_EW, others_W, others, bound, middle, farthest):
        order_W, bounded = others_W, others
    words, total, before = order_W.size, codes_WU.shape[1], near
    steps = max(1, min(steps_1[0] - 1, words))
    first = start
    while first < end:
        bits = ~np.uint64(0)
        if first + 64 <= total:
            while True:
                rest = farthest - bound if steps <= bounded else farthest
                bits = near_sums(codes_WU, first, order_W, steps, query_W, masks_EW, weights_EW, rest, ahead)
                if steps == words or popcount(bits) <= _FEW:
                    break
                steps += 1
        if first + 64 > end:
            bits &= (np.uint64(1) << np.uint64(end - first)) - np.uint64(1)
        while bits:
            near_C3[near, 1] = first + popcount(~bits & (bits - np.uint64(1)))  # the place of the lowest bit
            near += 1
            bits &= bits - np.uint64(1)
        first += 64
    steps_1[0] = steps
    if near == before:
        return near
    write_keys(codes_WU, asked, near_C3[before:near])  # one call for all: each call counts references
    return before + drop_far(near_C3[before:near], farthest)


@compiled
def _others_first(
    masks_EW: Words,
    weights_EW: Int64s,
    others_W: Int64s,
    others: int,
    bound: int,
    middle: int,
    farthest: int,
) -> bool:
    """Return whether a word of another part rules out more codes of a run than one of the first part."""
    if others == others_W.size:
        return True
    usual, word = 0.0, others_W[0]
    for plane in range(masks_EW.shape[0]):
        usual += _USUAL * weights_EW[plane, word] * popcount(masks_EW[plane, word])
    own_words = others_W.size - others
    return bool((farthest - bound) * middle <= farthest * usual * own_words)


@compiled
def write_keys(codes_WN: Words, asked: Plain, near_C3: Int64s) -> None:
    """Write the keys of some rows, near_C3 being (key, row, anything)."""
    query_W, masks_EW, weights_EW, own_W, _, _ = asked
    near_C3[:, 0] = 0
    for step in range(own_W.size):  # word by word: memory answers many requests at once
        word = own_W[step]
        for near in range(near_C3.shape[0]):
            different = codes_WN[word, near_C3[near, 1]] ^ query_W[word]
            for plane in range(masks_EW.shape[0]):
                near_C3[near, 0] += weights_EW[plane, word] * popcount(different & masks_EW[plane, word])
