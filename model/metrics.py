"""How good codes are: retrieval precision with ties averaged, and the health of the codes.

Shapes: Q queries, N codes, Y bytes a code, K bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.codes import Codes, greatest_distance, hamming_distances, part_bytes, unpack, weighted_distances
from model.retrieval import LabelledCodes
from model.spec import CodeSpec, PartName

_BLOCK = 256  # queries compared at a time: memory holds _BLOCK * N distances


def precision_at_k(
    queries: LabelledCodes,
    database: LabelledCodes,
    k: int,
    own_rows_Q: NDArray[np.integer] | None = None,
    code: CodeSpec | None = None,
) -> float:
    """Return the mean share of same-class codes among each query's k nearest. Labels are class ids.

    ``code`` says what parts the codes have, and so how often each bit counts; without it each counts once.
    If several codes are tied at the k-th distance, the result is the mean over all their orders: each counts
    with the share of them that is among the first k. ``own_rows_Q`` names each query's own row in the
    database, which is left out of its answer. Raises ValueError if there are fewer than k other codes.
    """
    (queries_QY, query_labels_Q), (codes_NY, labels_N) = queries, database
    if len(codes_NY) - (own_rows_Q is not None) < k:
        raise ValueError(f"precision at {k} needs {k} codes besides the query, there are {len(codes_NY)}")
    beyond = greatest_distance(codes_NY, code) + 1  # a distance that no code has
    precisions_Q = np.empty(len(queries_QY))
    for start in range(0, len(queries_QY), _BLOCK):
        block = slice(start, start + _BLOCK)
        distances_QN = (
            weighted_distances(queries_QY[block], codes_NY, code)
            if code
            else hamming_distances(queries_QY[block], codes_NY)
        )
        if own_rows_Q is not None:
            distances_QN[np.arange(len(distances_QN)), own_rows_Q[block]] = beyond
        relevant_QN = query_labels_Q[block, None] == labels_N[None, :]
        cutoff_Q1 = np.partition(distances_QN, k - 1, axis=1)[:, k - 1 : k]
        nearer_QN, tied_QN = distances_QN < cutoff_Q1, distances_QN == cutoff_Q1
        share_Q = (k - nearer_QN.sum(axis=1)) / tied_QN.sum(axis=1)
        hits_Q = (relevant_QN & nearer_QN).sum(axis=1) + share_Q * (relevant_QN & tied_QN).sum(axis=1)
        precisions_Q[block] = hits_Q / k
    return float(precisions_Q.mean())


@dataclass(frozen=True)
class CodeHealth:
    """Signs of collapse: codes have collapsed if many of them, or of their bits, are alike."""

    distinct_ratio: float
    """Distinct codes over codes, 0..1."""
    mean_bit_on: float
    """Share of bits that are on, 0..1; .5 is balanced."""
    worst_bit_on: float
    """Share of ones in the bit farthest from balance."""
    bit_entropy: float
    """Mean entropy of a bit, 0..1."""
    mean_abs_correlation: float
    """Mean absolute correlation of two different bits, 0..1; that of a constant bit with any other is 0."""


def code_health(codes_NY: Codes) -> CodeHealth:
    """Measure the health of one or more codes."""
    bits_NK = unpack(codes_NY).astype(np.float64)
    on_K = bits_NK.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy_K = np.nan_to_num(-on_K * np.log2(on_K) - (1 - on_K) * np.log2(1 - on_K))
    centred_NK = bits_NK - on_K
    deviation_K = np.sqrt((centred_NK**2).mean(axis=0))
    deviation_K[deviation_K == 0] = np.inf
    correlation_KK = np.abs(centred_NK.T @ centred_NK / len(bits_NK) / np.outer(deviation_K, deviation_K))
    off_diagonal = ~np.eye(len(on_K), dtype=bool)
    return CodeHealth(
        distinct_ratio=len(np.unique(codes_NY, axis=0)) / len(codes_NY),
        mean_bit_on=float(on_K.mean()),
        worst_bit_on=float(on_K[np.argmax(np.abs(on_K - 0.5))]),
        bit_entropy=float(entropy_K.mean()),
        mean_abs_correlation=float(correlation_KK[off_diagonal].mean()),
    )


def part_health(codes_NY: Codes, code: CodeSpec) -> dict[PartName, CodeHealth]:
    """Measure the health of each part of one or more codes on its own."""
    return {name: code_health(codes_NY[:, place]) for name, place in part_bytes(code).items()}
