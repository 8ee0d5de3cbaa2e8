"""What else searches binary codes: faiss, usearch, DuckDB, numpy.

Each peer is a function from one query code_Y to the distances of its k nearest; exact ones and approximate
ones, the latter tuned to the least work at which recall reaches .99.

Shapes: N codes, Q queries, Y bytes a code, K hits.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb
import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from usearch.compiled import MetricKind
from usearch.index import Index, search

from benchmarks.codes import Codes, nearest

Search = Callable[[Codes], NDArray[np.integer]]
"""code_Y -> distances_K"""


def flat(codes_NY: Codes, threads: int) -> faiss.IndexBinaryFlat:
    """Return faiss's exact index."""
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexBinaryFlat(codes_NY.shape[1] * 8)
    index.add(codes_NY)
    return index


def faiss_search(index: faiss.IndexBinary, k: int) -> Search:
    """Return the search of a faiss index."""
    return lambda code_Y: index.search(code_Y[None], k)[0][0]


def exact(codes_NY: Codes, k: int, folder: Path) -> Iterable[tuple[str, Search]]:
    """Yield exact peers besides faiss."""
    yield "numpy", lambda code_Y: nearest(codes_NY, code_Y, k)[1]
    path = folder / "codes.parquet"
    pq.write_table(pa.table({"code": codes_NY.view(np.uint64)[:, 0]}), path)
    database = duckdb.connect()
    database.execute("SET threads = 1")
    query = f"SELECT bit_count(xor(code, ?::UBIGINT)) AS d FROM '{path}' ORDER BY d LIMIT {k}"

    def ask(code_Y: Codes) -> NDArray[np.integer]:
        return np.array(database.execute(query, [int(code_Y.view(np.uint64)[0])]).fetchall())[:, 0]

    yield "DuckDB over Parquet", ask
    yield (
        "usearch, exact",
        lambda code_Y: search(
            codes_NY, code_Y, k, MetricKind.Hamming, exact=True, threads=1
        ).distances.astype(int),
    )


def approximate(codes_NY: Codes, k: int, *, full: bool) -> Iterable[tuple[str, Search]]:
    """Yield approximate peers at several settings each, on one thread but for their building.

    Without ``full`` only the one that came out quickest: graphs alone take most of an hour to build.
    """
    bits = codes_NY.shape[1] * 8
    coarse = faiss.IndexBinaryFlat(bits)
    lists = faiss.IndexBinaryIVF(coarse, bits, 1024)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    lists.train(codes_NY[:: max(1, len(codes_NY) // 100_000)])
    lists.add(codes_NY)
    faiss.omp_set_num_threads(1)
    for probes in (1, 2, 4, 8, 16):

        def ask(code_Y: Codes, probes: int = probes) -> NDArray[np.integer]:
            lists.nprobe = probes
            return faiss_search(lists, k)(code_Y)

        yield f"faiss IVF 1024, {probes} probed", ask
    if full:
        yield from _hashes(codes_NY, k)
        yield from _graphs(codes_NY, k)


def _hashes(codes_NY: Codes, k: int) -> Iterable[tuple[str, Search]]:
    hashed = faiss.IndexBinaryMultiHash(codes_NY.shape[1] * 8, 3, 21)
    hashed.add(codes_NY)
    for flips in (0, 1, 2):

        def ask_hash(code_Y: Codes, flips: int = flips) -> NDArray[np.integer]:
            hashed.nflip = flips
            return faiss_search(hashed, k)(code_Y)

        yield f"faiss MultiHash 3 x 21, {flips} flips", ask_hash


def _graphs(codes_NY: Codes, k: int) -> Iterable[tuple[str, Search]]:
    graph = faiss.IndexBinaryHNSW(codes_NY.shape[1] * 8, 16)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    graph.add(codes_NY)
    faiss.omp_set_num_threads(1)
    for effort in (16, 64, 256):

        def ask(code_Y: Codes, effort: int = effort) -> NDArray[np.integer]:
            graph.hnsw.efSearch = effort
            return faiss_search(graph, k)(code_Y)

        yield f"faiss HNSW 16, ef {effort}", ask
    other = Index(ndim=codes_NY.shape[1] * 8, metric="hamming", dtype="b1")
    other.add(np.arange(len(codes_NY)), codes_NY)
    for effort in (16, 64, 256):

        def ask_other(code_Y: Codes, effort: int = effort) -> NDArray[np.integer]:
            other.expansion_search = effort  # type: ignore[misc]  # there is a setter
            return other.search(code_Y, k, threads=1).distances.astype(int)

        yield f"usearch HNSW, ef {effort}", ask_other


def recall(found: Iterable[NDArray[np.integer]], wanted: Iterable[NDArray[np.integer]]) -> float:
    """Return the share of the k nearest that were found, judged by distance, so that ties don't matter."""
    pairs = list(zip(found, wanted, strict=True))
    return sum(int((one <= other[-1]).sum()) for one, other in pairs) / sum(len(other) for _, other in pairs)
