"""The tables of multi-index hashing: for each substring the codes, or their groups, in its order.

Substring t is bits t * L to (t + 1) * L - 1, counted from the top of word 0; the codes' bits are ordered so
that values of substrings occur about equally often (`bit_order`). Bits behind the last substring are in none.

Shapes: U groups, W words a code, T tables, L bits a substring, P = 2 ** L + 1.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from pipelines.hamming.groups import THREADS, Groups
from pipelines.hamming.jit import UInt32s, Words, compiled
from pipelines.hamming.kernels import bit_field

_MOST_BITS = 24  # of a substring; the starts of its buckets are an array of 2 ** L numbers
_MOST_TABLES = 8
_FEWEST_GROUPS = 1 << 14  # a scan of fewer takes microseconds


class Tables(NamedTuple):
    """Table 0 is not stored: the groups themselves are in its order."""

    starts_TP: UInt32s
    """Where each bucket starts in its table, and one more at the end."""
    codes_TU: Words
    """Codes of one word in the order of tables 1 and up; empty where codes are longer."""
    groups_TU: UInt32s
    """Groups in the order of tables 1 and up; empty where codes have one word."""


def substrings(bits: int, groups: int) -> tuple[int, int]:
    """Return the best number of tables, and of bits a substring; (0, 0) where a scan is as fast."""
    if groups < _FEWEST_GROUPS or bits < 32:
        return 0, 0
    ideal = min(_MOST_BITS, round(np.log2(groups)) - 1)
    tables = min(max(2, round(bits / ideal)), _MOST_TABLES)
    return tables, min(bits // tables, ideal)


def build_tables(groups: Groups, tables: int, length: int) -> Tables:
    """Return the tables over groups, which are ordered by code."""
    words, count = groups.codes_WU.shape
    starts_TP = np.zeros((tables, (1 << length) + 1), np.uint32)
    codes_TU = np.empty((max(0, tables - 1), count if words == 1 else 0), np.uint64)
    groups_TU = np.empty((max(0, tables - 1), 0 if words == 1 else count), np.uint32)

    def build(table: int) -> None:
        _count(groups.codes_WU, table * length, length, starts_TP[table])
        if table:
            free_P = starts_TP[table].copy()
            _place(groups.codes_WU, table * length, length, free_P, codes_TU[table - 1], groups_TU[table - 1])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(build, range(tables)))
    return Tables(starts_TP, codes_TU, groups_TU)


@compiled
def _count(codes_WU: Words, first_bit: int, length: int, starts_P: UInt32s) -> None:
    word, skipped = first_bit >> 6, first_bit & 63
    words_U, following_U = codes_WU[word], codes_WU[min(word + 1, codes_WU.shape[0] - 1)]
    for position in range(codes_WU.shape[1]):
        bucket = bit_field(words_U[position], following_U[position], skipped, length)
        starts_P[bucket + 1] += np.uint32(1)
    for bucket in range(1, starts_P.size):
        starts_P[bucket] += starts_P[bucket - 1]


@compiled
def _place(
    codes_WU: Words, first_bit: int, length: int, free_P: UInt32s, codes_U: Words, groups_U: UInt32s
) -> None:
    """Put each code, or its group, at the next free place of its bucket."""
    word, skipped = first_bit >> 6, first_bit & 63
    words_U, following_U = codes_WU[word], codes_WU[min(word + 1, codes_WU.shape[0] - 1)]
    for position in range(codes_WU.shape[1]):
        bucket = bit_field(words_U[position], following_U[position], skipped, length)
        place = free_P[bucket]
        free_P[bucket] = place + np.uint32(1)
        if codes_U.size:
            codes_U[place] = codes_WU[0, position]
        else:
            groups_U[place] = position
