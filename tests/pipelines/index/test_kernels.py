"""Kernels that take vectors, against plain numpy: every remainder, every number of queries."""

import numpy as np
import pytest

from pipelines.index.intrinsics import LANES
from pipelines.index.kernels import SHARED, least_distance, least_distances


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
        assert least_distance(codes_B, queries_Q[first]) == wanted[0]


def test_the_farthest_is_found_too() -> None:
    found_4 = np.empty(SHARED, np.int64)
    least_distances(np.zeros(LANES + 1, np.uint64), np.full(1, 2**64 - 1, np.uint64), 0, found_4)
    assert found_4.tolist() == [64] * SHARED
    assert least_distance(np.zeros(LANES + 1, np.uint64), np.uint64(2**64 - 1)) == 64
