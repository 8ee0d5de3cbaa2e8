"""Binary codes: from real outputs to packed bytes and back, and the reference Hamming distance.

Shapes: N, M codes; K bits; Y = K / 8 bytes.
Bit k of a code is bit ``k mod 8`` of byte ``k div 8`` (little-endian bit order), as in the code table.
"""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
"""Packed codes_NY."""


def binarise(outputs_NK: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return bits_NK: on where the output is above 0, so that sign(0) = -1 (METHODS, seed A)."""
    return np.asarray(outputs_NK > 0)


def pack(bits_NK: NDArray[np.bool_]) -> Codes:
    """Pack bits_NK into codes_NY. Raises ValueError unless K is a multiple of 8."""
    if bits_NK.ndim != 2 or bits_NK.shape[1] % 8:
        raise ValueError(f"bits must be (N, K) with K a multiple of 8, not {bits_NK.shape}")
    return np.packbits(bits_NK, axis=1, bitorder="little")


def unpack(codes_NY: Codes) -> NDArray[np.bool_]:
    """Unpack codes_NY into bits_NK."""
    return np.unpackbits(codes_NY, axis=1, bitorder="little").astype(bool)


def hamming_distances(queries_NY: Codes, codes_MY: Codes) -> NDArray[np.uint16]:
    """Return distances_NM in bits, 0..K: the slow, plain reference."""
    differing_NMY = np.bitwise_count(queries_NY[:, None, :] ^ codes_MY[None, :, :])
    return np.asarray(differing_NMY.sum(axis=2, dtype=np.uint16))
