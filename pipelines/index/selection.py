"""The rows that a filter leaves.

Shapes: S = ceil(N / 64) words, B blocks.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.index.groups import UInt32s
from pipelines.index.kernels import Words

ROWS = 1024
"""Rows in a block."""


class Selection(NamedTuple):
    """Some rows of an index."""

    bits_S: Words
    """Bit i % 64 of word i // 64 says whether row i is one."""
    blocks_B: UInt32s
    """The blocks of `ROWS` rows that have any, ascending."""
    rows: int
    """How many."""


def select(mask_N: NDArray[np.bool_]) -> Selection:
    """Return the rows that a mask is true for."""
    padded = np.zeros(-(-mask_N.size // ROWS) * ROWS, bool)
    padded[: mask_N.size] = mask_N
    blocks_B = np.flatnonzero(padded.reshape(-1, ROWS).any(axis=1)).astype(np.uint32)
    bits_S = np.packbits(padded, bitorder="little").view("<u8")
    return Selection(bits_S[: -(-mask_N.size // 64)], blocks_B, int(mask_N.sum()))


def rows_of(selection: Selection) -> NDArray[np.int64]:
    """Return the rows themselves, ascending."""
    words_B16 = selection.blocks_B.astype(np.int64)[:, None] * (ROWS // 64) + np.arange(ROWS // 64)
    words_M = words_B16[words_B16 < selection.bits_S.size]
    bits_M64 = np.unpackbits(selection.bits_S[words_M].view(np.uint8), bitorder="little").reshape(-1, 64)
    word, bit = np.nonzero(bits_M64)
    return words_M[word] * 64 + bit
