"""Binary codes: from real outputs to packed bytes and back, and the reference distances.

Shapes: N, M codes; K bits; Y = K / 8 bytes; W words of 64 bits.
Bit k of a code is bit ``k mod 8`` of byte ``k div 8`` (little-endian bit order), as in the code table.

A code has one or two parts (`model.spec.CodeSpec`), one after the other: kind, then look. Each part has a
whole number of bytes.
"""

import numpy as np
from numpy.typing import NDArray

from model.spec import MAX_WEIGHT, CodeSpec, Compare, PartName

Codes = NDArray[np.uint8]
"""Packed codes_NY."""


def binarise(outputs_NK: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return bits_NK: on where the output is above 0. The sign of 0 is -1, a bit that is off."""
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
    """Return distances_NM in bits, 0..K: a slow, plain reference."""
    differing_NMY = np.bitwise_count(queries_NY[:, None, :] ^ codes_MY[None, :, :])
    return np.asarray(differing_NMY.sum(axis=2, dtype=np.uint16))


def part_bytes(code: CodeSpec) -> dict[PartName, slice]:
    """Return which bytes of a code each part has, in the order of the parts."""
    places: dict[PartName, slice] = {}
    first = 0
    for part in code.parts:
        places[part.name] = slice(first, first + part.bits // 8)
        first += part.bits // 8
    return places


def part_distances(queries_NY: Codes, codes_MY: Codes, code: CodeSpec) -> dict[PartName, NDArray[np.uint16]]:
    """Return distances_NM of each part in bits, 0..the part's bits: a slow, plain reference."""
    return {
        name: hamming_distances(queries_NY[:, place], codes_MY[:, place])
        for name, place in part_bytes(code).items()
    }


def weighted_distances(
    queries_NY: Codes, codes_MY: Codes, code: CodeSpec, kind_weight: int | None = None
) -> NDArray[np.uint16]:
    """Return distances_NM: the sum over the parts of weight times Hamming distance, a whole number.

    In codes of two parts, ``kind_weight`` (0..8) replaces the kind part's own weight, unless it is None. A
    single part always has the weight 1. A slow, plain reference. Raises ValueError on another weight.
    """
    if kind_weight is not None and not 0 <= kind_weight <= MAX_WEIGHT:
        raise ValueError(f"kind_weight must be 0..{MAX_WEIGHT}, not {kind_weight}")
    weights = {part.name: part.weight for part in code.parts}
    if kind_weight is not None and len(weights) == 2:
        weights["kind"] = kind_weight
    distances = part_distances(queries_NY, codes_MY, code)
    total_NM = sum(weights[name] * distances_NM for name, distances_NM in distances.items())
    return np.asarray(total_NM, np.uint16)


def compared_distances(
    queries_NY: Codes,
    codes_MY: Codes,
    code: CodeSpec,
    compare: Compare = "both",
    kind_weight: int | None = None,
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return distances_NM, and ties_NM that put codes at the same distance in order: a slow, plain reference.

    If one of two parts is compared, distances_NM is that part's distance in bits and ties_NM the other
    part's. Else distances_NM is that of `weighted_distances` and ties_NM is 0. Rows that are tied in both
    come in the order of their chip ids. Raises ValueError if the code lacks the part.
    """
    if compare == "both":
        distances_NM = weighted_distances(queries_NY, codes_MY, code, kind_weight)
        return distances_NM, np.zeros_like(distances_NM)
    distances = part_distances(queries_NY, codes_MY, code)
    check_compare(code, compare)
    distances_NM = distances.pop(compare)
    return distances_NM, next(iter(distances.values()), np.zeros_like(distances_NM))


def check_compare(code: CodeSpec, compare: Compare) -> None:
    """Raise ValueError if the code lacks the part that is to be compared."""
    names = [part.name for part in code.parts]
    if compare != "both" and compare not in names:
        raise ValueError(f"these codes have no {compare} bits to compare, only {names[0]} bits")


def weighted_words(
    codes_NY: Codes, code: CodeSpec | None = None, compare: Compare = "both"
) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Return words_NW of the parts that are compared, and weights_W: how often a bit of each word counts.

    Each part is filled up to a whole word with zeros, which add nothing to any distance. Without ``code``
    each bit counts once. Raises ValueError if the codes have another length than the spec or lack the part.
    """
    if code is None:
        parts = [(slice(None), 1)]
    else:
        if codes_NY.shape[1] * 8 != code.bits:
            raise ValueError(f"the codes have {codes_NY.shape[1] * 8} bits, their spec {code.bits}")
        check_compare(code, compare)
        places = part_bytes(code)
        compared = [part for part in code.parts if compare in ("both", part.name)]
        parts = [(places[part.name], part.weight if compare == "both" else 1) for part in compared]
    words = [_words(codes_NY[:, place]) for place, _ in parts]
    counts = [words_NW.shape[1] for words_NW in words]
    return np.concatenate(words, axis=1), np.repeat([weight for _, weight in parts], counts).astype(np.uint16)


def greatest_distance(codes_NY: Codes, code: CodeSpec | None = None, compare: Compare = "both") -> int:
    """Return the distance of a code from its opposite (see `weighted_words`)."""
    if code is None:
        return int(codes_NY.shape[1]) * 8
    check_compare(code, compare)
    if compare == "both":
        return code.greatest_distance
    return next(part.bits for part in code.parts if part.name == compare)


def _words(codes_NY: Codes) -> NDArray[np.uint64]:
    """Return words_NW, the last one filled up with zeros."""
    padded_NY = np.pad(codes_NY, ((0, 0), (0, -codes_NY.shape[1] % 8)))
    return np.ascontiguousarray(padded_NY).view(np.uint64)
