"""How kernels are compiled: by numba on first use, without the GIL, their machine code kept on disk.

Other users of numba in the same process keep their settings: nothing global is changed.

Shapes of the array types: W words of 64 bits a code; a suffix on each variable says which axes it has.
"""

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite.binding
import numba
import numpy as np
from numba.core.errors import NumbaError
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Int64s = NDArray[np.int64]
UInt32s = NDArray[np.uint32]
Plain = tuple[Any, ...]
"""The fields of a named tuple, in their order, as a plain tuple. From Python to compiled code a named tuple
takes as long as eight arrays, a plain one no time."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _has_simd() -> bool:
    """Return whether the loops written for LLVM's vectors suit this processor (`simd`).

    The environment variable HAMMING_SIMD=off chooses the plain loops on any processor.
    """
    if os.environ.get("HAMMING_SIMD") == "off" or sys.byteorder != "little":
        return False
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    try:
        return bool(llvmlite.binding.get_host_cpu_features().get("avx2"))
    except RuntimeError:  # LLVM doesn't know this processor
        return False


HAS_SIMD = _has_simd()
"""Whether `simd` is made of LLVM's vectors: otherwise of plain loops."""


def _kernel_folder() -> Path:
    """Return where machine code is kept: a folder for each state of the sources, and for each `simd`.

    numba compares the time of a kernel's own file only. It would keep using machine code in which functions
    of other files are compiled as they were before.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    given = getattr(numba.config, "CACHE_DIR")  # noqa: B009 - numba.config has no types
    parent = Path(given) if given else Path(__file__).parent / "__pycache__"
    return parent / f"kernels-{digest[:16]}-{'simd' if HAS_SIMD else 'plain'}"


_FOLDER = str(_kernel_folder())


@contextmanager
def _cached_in(folder: str) -> Iterator[None]:
    """Have numba choose this folder for what is declared meanwhile; its own setting is put back."""
    before = getattr(numba.config, "CACHE_DIR")  # noqa: B009
    setattr(numba.config, "CACHE_DIR", folder)  # noqa: B010
    try:
        yield
    finally:
        setattr(numba.config, "CACHE_DIR", before)  # noqa: B010


def compiled(function: _Function) -> _Function:
    """Compile on first use, without the GIL; keep the machine code on disk where any folder is writable."""
    try:
        with _cached_in(_FOLDER):
            kernel = numba.njit(nogil=True, cache=True, boundscheck=False)(function)
    except (RuntimeError, NumbaError):  # numba has nowhere to write: neither beside the code nor at home
        kernel = numba.njit(nogil=True, boundscheck=False)(function)
    return cast(_Function, kernel)


@compiled
def signed(number: Any) -> int:
    """Return a number as int64: mixed with unsigned numbers, compiled code would go over to floats."""
    return np.int64(number)  # type: ignore[return-value]
