"""Kernels that take vectors, against plain numpy: every remainder, every number of queries."""

import numpy as np
import pytest

from pipelines.hamming.intrinsics import LANES, near_bits
from pipelines.hamming.kernels import SHARED, Words, compiled, least_distance, least_distances


@compiled
def _near_bits(codes_B: Words, first: int, query: int, farthest: int) -> np.uint64:
    return near_bits(codes_B, first, query, farthest)


@pytest.mark.parametrize("count", [*range(1, 3 * LANES + 1), 2048])
def test_least_distances(count: int) -> None:
    rng = np.random.default_rng(count)
    codes_B, queries_Q = (rng.integers(0, 2**64, size, np.uint64) for size in (count, 2 * SHARED + 1))
    distances_QB = np.bitwise_count(queries_Q[:, None] ^ codes_B)
    for first in range(queries_Q.size):
        found_4 = np.empty(SHARED, np.int64)
        least_distances(codes_B, queries_Q, first, found_4)
        wanted = [distances_QB[min(first + place, queries_Q.size - 1)].min() for place in range(SHARED)]
        assert found_4.tolist() == wanted
        assert least_distance(codes_B, queries_Q[first], LANES) == wanted[0]


def test_the_farthest_is_found_too() -> None:
    found_4 = np.empty(SHARED, np.int64)
    least_distances(np.zeros(LANES + 1, np.uint64), np.full(1, 2**64 - 1, np.uint64), 0, found_4)
    assert found_4.tolist() == [64] * SHARED
    assert least_distance(np.zeros(LANES + 1, np.uint64), np.uint64(2**64 - 1), 0) == 64


@pytest.mark.parametrize("farthest", [-1, 0, 27, 32, 63, 64])
def test_near_codes_are_told_by_64(farthest: int) -> None:
    codes_B = np.random.default_rng(farthest + 1).integers(0, 2**64, 80, np.uint64)
    query = codes_B[9]
    for first in range(codes_B.size - 64 + 1):
        near_B = np.bitwise_count(codes_B[first : first + 64] ^ query).astype(int) <= farthest
        assert _near_bits(codes_B, first, query, farthest) == int(
            np.packbits(near_B, bitorder="little").view(np.uint64)[0]
        )
