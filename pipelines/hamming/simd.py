"""Five operations that scans spend their time in, as vector instructions where the processor has them.

`simd_llvm` writes them in LLVM's own terms, `simd_plain` as loops that numba compiles for any processor. The
choice is made when the process starts (`jit.HAS_SIMD`); both give the same results. They are for kernels:
Python cannot call them.

Shapes: U codes, W words of 64 bits a code, E planes of bit weights.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines.hamming import simd_llvm, simd_plain
from pipelines.hamming.jit import HAS_SIMD, Words

LANES = simd_plain.LANES

popcount: Callable[[Any], int] = simd_llvm.popcount if HAS_SIMD else simd_plain.popcount
"""(word): how many bits of an uint64 are set."""

prefetch: Callable[[Words, int], None] = simd_llvm.prefetch if HAS_SIMD else simd_plain.prefetch
"""(array, position): ask the processor to bring an element to its cache, without waiting for it."""

least_bits: Callable[[Words, tuple[int, ...], int], tuple[int, ...]] = (
    simd_llvm.least_bits if HAS_SIMD else simd_plain.least_bits
)
"""(words, queries, ahead): for each of one or four queries the least popcount(word ^ query).

The last words, fewer than `LANES`, which fill no vector, are left out; the result is 255 where no words are
left. Words that lie ``ahead`` of those compared, even behind the array's end, are prefetched."""

near_bits: Callable[[Words, int, int, int], np.uint64] = (
    simd_llvm.near_bits if HAS_SIMD else simd_plain.near_bits
)
"""(words, first, query, farthest): an uint64. Bit i says whether popcount(words[first + i] ^ query) is at
most ``farthest``. There must be 64 words from ``first`` on."""

near_sums: Callable[..., np.uint64] = simd_llvm.near_sums if HAS_SIMD else simd_plain.near_sums
"""(codes_WU, first, order_W, words, query_W, masks_EW, weights_EW, farthest, ahead): an uint64.

Bit i says whether code ``first + i`` is at most ``farthest`` away in the first ``words`` words of
``order_W``. The distance is the sum over these words and over the planes of weights_EW * popcount((code ^
query) & masks_EW). There must be 64 codes from ``first`` on; arrays are contiguous, ``order_W`` and
``weights_EW`` int64. Codes that lie ``ahead`` are prefetched."""
