"""What all compiled code of the index shares: population counts, Hamming distance, bit fields.

numba turns it into machine code on first use and keeps that on disk; LLVM maps ``ctpop`` to VPOPCNT where
the processor has it. All kernels release the GIL.

Shapes: U codes, W words of 64 bits a code, T tables. Codes lie word by word, codes_WU: each step of a scan
reads memory in order.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite.binding
import numba
import numpy as np
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from pipelines.hamming.intrinsics import LANES, least_bits, popcount

Words = NDArray[np.uint64]
SHARED = 4
"""Queries that share what is read of the codes."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _widest_vectors() -> str:
    """Return this processor's features as LLVM lists them, without the wish for vectors of 256 bits.

    Processors have it for the clock's sake; counting bits is twice as fast in vectors of 512.
    """
    features = llvmlite.binding.get_host_cpu_features()
    features["prefer-256-bit"] = False
    return str(features.flatten())


if getattr(numba.config, "CPU_FEATURES") is None:  # noqa: B009 - read when the first function is compiled
    setattr(numba.config, "CPU_FEATURES", _widest_vectors())  # noqa: B010


def _kernel_folder() -> str:
    """Return where machine code is kept: a folder for each state of the sources.

    numba looks at the time of a kernel's own file only, and would go on with what another file had in it.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    return str(Path(__file__).parent / "__pycache__" / f"kernels-{digest[:16]}")


if not getattr(numba.config, "CACHE_DIR"):  # noqa: B009
    setattr(numba.config, "CACHE_DIR", _kernel_folder())  # noqa: B010


def compiled(function: _Function) -> _Function:
    """Compile on first use, without the GIL; keep the machine code on disk where any folder is writable."""
    try:
        kernel = numba.njit(nogil=True, cache=True, boundscheck=False)(function)
    except (RuntimeError, NumbaError):  # numba has nowhere to write: neither beside the code nor at home
        kernel = numba.njit(nogil=True, boundscheck=False)(function)
    return cast(_Function, kernel)


@compiled
def signed(number: Any) -> int:
    """Return a number as int64: with one of another type compiled code would go over to floats."""
    return np.int64(number)  # type: ignore[return-value]


@compiled
def distances(codes_WU: Words, first: int, last: int, query_W: Words, out_B: NDArray[np.int64]) -> int:
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
def least_distances(codes_B: Words, queries_Q: Words, first: int, out_4: NDArray[np.int64]) -> None:
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
