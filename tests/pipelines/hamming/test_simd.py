"""The vector operations, LLVM's and the plain ones, against plain numpy; and what an import changes.

Shapes: B codes of a block, Q queries, U codes, W words a code, E planes of bit weights.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from pipelines.hamming import simd_llvm, simd_plain
from pipelines.hamming.jit import Int64s, Words, compiled
from pipelines.hamming.kernels import SHARED, least_distance, least_distances
from pipelines.hamming.simd import LANES


def kernels_of(simd):
    """Return kernels that call the operations of one module; LLVM's can't be called from Python."""
    popcount, prefetch, least_bits = simd.popcount, simd.prefetch, simd.least_bits
    near_bits, near_sums = simd.near_bits, simd.near_sums

    @compiled
    def count(word: np.uint64) -> int:
        return popcount(word)

    @compiled
    def fetch(words_B: Words) -> None:
        prefetch(words_B, 1)

    @compiled
    def least_of_one(words_B: Words, query: int) -> int:
        return least_bits(words_B, (query,), 64)[0]

    @compiled
    def least_of_four(words_B: Words, one: int, two: int, three: int, four: int) -> tuple[int, ...]:
        return least_bits(words_B, (one, two, three, four), 0)

    @compiled
    def near(words_B: Words, first: int, query: int, farthest: int) -> np.uint64:
        return near_bits(words_B, first, query, farthest)

    @compiled
    def sums(
        codes_WU: Words, first: int, order_W: Int64s, words: int, asked: tuple, farthest: int
    ) -> np.uint64:
        query_W, masks_EW, weights_EW = asked
        return near_sums(codes_WU, first, order_W, words, query_W, masks_EW, weights_EW, farthest, 64)

    return count, fetch, least_of_one, least_of_four, near, sums


@pytest.fixture(scope="module", params=[simd_llvm, simd_plain], ids=["llvm", "plain"])
def kernels(request):
    return kernels_of(request.param)


def as_bits(near_64):
    return int(np.packbits(near_64, bitorder="little").view(np.uint64)[0])


def test_bits_are_counted(kernels):
    count, fetch, *_ = kernels
    words = [0, 1, 2**63, 2**64 - 1, *np.random.default_rng(0).integers(0, 2**64, 100, np.uint64).tolist()]
    assert [count(np.uint64(word)) for word in words] == [word.bit_count() for word in words]
    fetch(np.zeros(2, np.uint64))


def test_the_least_is_that_of_whole_vectors(kernels):
    _, _, least_of_one, least_of_four, *_ = kernels
    for size in (1, LANES - 1, LANES, LANES + 1, 3 * LANES, 2048):
        rng = np.random.default_rng(size)
        words_B, queries_Q = rng.integers(0, 2**64, size, np.uint64), rng.integers(0, 2**64, 4, np.uint64)
        whole_B = words_B[: size // LANES * LANES]
        want = [int(np.bitwise_count(whole_B ^ query).min(initial=255)) for query in queries_Q]
        assert list(least_of_four(words_B, *queries_Q)) == want
        assert least_of_one(words_B, queries_Q[0]) == want[0]


@pytest.mark.parametrize("farthest", [-1, 0, 27, 32, 63, 64])
def test_near_codes_are_found_64_at_a_time(kernels, farthest):
    near = kernels[4]
    codes_B = np.random.default_rng(farthest + 1).integers(0, 2**64, 80, np.uint64)
    query = codes_B[9]
    for first in range(codes_B.size - 64 + 1):
        near_64 = np.bitwise_count(codes_B[first : first + 64] ^ query).astype(int) <= farthest
        assert near(codes_B, first, query, farthest) == as_bits(near_64)


@pytest.mark.parametrize("planes", [1, 4])
def test_near_weighted_sums_are_found_64_at_a_time(kernels, planes):
    sums, rng = kernels[5], np.random.default_rng(planes)
    codes_WU, query_W = rng.integers(0, 2**64, (3, 100), np.uint64), rng.integers(0, 2**64, 3, np.uint64)
    masks_EW, weights_EW = rng.integers(0, 2**64, (planes, 3), np.uint64), rng.integers(0, 9, (planes, 3))
    order_W = np.array([2, 0, 1])
    counts_EWU = np.bitwise_count((codes_WU ^ query_W[:, None]) & masks_EW[:, :, None]).astype(np.int64)
    for words in (1, 2, 3):
        sums_U = (counts_EWU * weights_EW[:, :, None])[:, order_W[:words]].sum(axis=(0, 1))
        for first, farthest in ((0, int(np.median(sums_U))), (36, int(sums_U[40])), (5, -1)):
            found = sums(codes_WU, first, order_W, words, (query_W, masks_EW, weights_EW), farthest)
            assert found == as_bits(sums_U[first : first + 64] <= farthest)


@pytest.mark.parametrize("count", [*range(1, 3 * LANES + 1), 2048])
def test_least_distances(count):
    rng = np.random.default_rng(count)
    codes_B, queries_Q = (rng.integers(0, 2**64, size, np.uint64) for size in (count, 2 * SHARED + 1))
    distances_QB = np.bitwise_count(queries_Q[:, None] ^ codes_B)
    for first in range(queries_Q.size):
        found_4 = np.empty(SHARED, np.int64)
        least_distances(codes_B, queries_Q, first, found_4)
        wanted = [distances_QB[min(first + place, queries_Q.size - 1)].min() for place in range(SHARED)]
        assert found_4.tolist() == wanted
        assert least_distance(codes_B, queries_Q[first], LANES) == wanted[0]


def test_the_farthest_is_found_too():
    found_4 = np.empty(SHARED, np.int64)
    least_distances(np.zeros(LANES + 1, np.uint64), np.full(1, 2**64 - 1, np.uint64), 0, found_4)
    assert found_4.tolist() == [64] * SHARED
    assert least_distance(np.zeros(LANES + 1, np.uint64), np.uint64(2**64 - 1), 0) == 64


SEARCH = """
import numpy as np
from pipelines.hamming import simd, simd_plain
from pipelines.hamming.arrays import build_arrays
from pipelines.hamming.code_index import CodeIndex
from pipelines.hamming.limits import Limits
from tests.pipelines.hamming.oracle import answer, clustered, nearest
assert simd.popcount is simd_plain.popcount
codes_NY = clustered(5_000, 8)
index = CodeIndex(build_arrays(codes_NY))
for row in range(0, 5_000, 499):
    assert answer(index.search(codes_NY[row], Limits(10))) == nearest(codes_NY, codes_NY[row], 10)
"""


def run(program, **environment):
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | environment,
        check=False, timeout=170,
    )  # fmt: skip
    assert not finished.returncode, finished.stderr
    return finished.stdout.strip()


@pytest.mark.server
def test_plain_loops_answer_as_the_oracle_does():
    assert run(SEARCH, HAMMING_SIMD="off") == ""


CHANGES = """
import logging, os, signal, sys, warnings
import numba, numpy as np, pyarrow, pyarrow.compute, shapely
def state():
    config = {name: getattr(numba.config, name) for name in dir(numba.config) if name.isupper()}
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    root = logging.getLogger()
    return {
        "numba": config, "environment": dict(os.environ), "warnings": list(warnings.filters),
        "numpy": (np.geterr(), np.get_printoptions()), "signals": handlers, "folder": os.getcwd(),
        "logging": (list(root.handlers), root.level), "recursion": sys.getrecursionlimit(),
        "hooks": (sys.excepthook, sys.displayhook), "path": list(sys.path),
    }
before = state()
import pipelines.hamming.code_index, pipelines.hamming.examples
import pipelines.index.filters, pipelines.index.files, pipelines.index.polygons, pipelines.index.rows
after = state()
print({name: (before[name], after[name]) for name in before if before[name] != after[name]})
"""


def test_importing_changes_nothing_for_others_in_the_process():
    assert run(CHANGES) == "{}"
