"""Codes in parts beside faiss Flat: 64 kind bits and 192 look bits, each way of comparing, filters, batches.

A part of `benchmarks.search`, on one thread. faiss compares as many bits as count: 256, 64 or 192. Answers
are compared with plain numpy's.

Shapes: N codes, R codes to tile, Q queries, M selected rows, Y bytes a code.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import codes, peers
from benchmarks.large import box_of, columns_of, median_ms
from pipelines.hamming.answer import Hits
from pipelines.hamming.arrays import build_arrays
from pipelines.hamming.code_index import CodeIndex
from pipelines.hamming.comparison import Comparison
from pipelines.hamming.limits import Limits
from pipelines.hamming.row_filter import RowFilter, rows_of
from pipelines.index.filters import select_rows, spans_of

PART_BITS, _KIND_BYTES, _K, _BATCH = (64, 192), 8, 10, 64
_CHECKED = 3  # queries whose answers are compared with the oracle's
_BOTH, _WEIGHTED = Comparison((1, 1), (0, 0)), Comparison((3, 1), (0, 0))
_KIND, _LOOK = Comparison((1, 0), (0, 1)), Comparison((0, 1), (1, 0))
_WAYS = {
    "both": (_BOTH, slice(None)),
    "weighted": (_WEIGHTED, slice(None)),
    "kind": (_KIND, slice(_KIND_BYTES)),
    "look": (_LOOK, slice(_KIND_BYTES, None)),
}
"""The comparison, and the bytes that faiss compares."""
_NOISY, _DENSE = 0.08, 0.02  # of the bits flipped
_SHARES = (0.0001, 0.01, 0.5)

Report = Callable[[str, str, float, float | None], None]
"""Codes, search, median milliseconds, times faster than faiss."""


def composite(
    codes_RY: codes.Codes, size: int, queries: int, report: Report, *, full: bool
) -> tuple[dict[str, float], bool]:
    """Measure codes tiled to ``size`` with 8 % and 2 % of their bits flipped.

    Returns the figures, and whether all answers were exact.
    """
    figures: dict[str, float] = {}
    exact = True
    for flipped, names in ((_NOISY, tuple(_WAYS)), (_DENSE, ("both",))):
        codes_NY = codes.tiled(codes_RY, size, flipped)
        queries_QY = codes.tiled(codes_RY, _BATCH, flipped, seed=1)
        index = CodeIndex(build_arrays(codes_NY, None, PART_BITS))
        kind = f"composite, {flipped:.0%} noise, {size / 1e6:g} M x 256"
        for name in names:
            comparison, compared = _WAYS[name]
            ask = partial(index.search, limits=Limits(_K), comparison=comparison)
            answers = [ask(code_Y) for code_Y in queries_QY[:_CHECKED]]
            exact &= _is_exact(answers, codes_NY, queries_QY, comparison)
            theirs = _flat_ms(codes_NY[:, compared], queries_QY[:queries, compared])
            ours = _median_ms(ask, queries_QY[:queries])
            report(kind, f"faiss Flat, bits of {name}", theirs, None)
            report(kind, f"this index, {name} ({ask(queries_QY[0]).method})", ours, theirs / ours)
            figure = "dense" if flipped == _DENSE else name
            figures[f"composite_{figure}_vs_flat"] = theirs / ours
        if flipped == _NOISY:
            figures["composite_bytes_per_code"] = index.resident_bytes / size
            figures["composite_batch_vs_flat"], is_exact = _batch(index, codes_NY, queries_QY, report, kind)
            exact &= is_exact
            if full:
                exact &= _filters(index, codes_NY, queries_QY)
    return figures, exact


def _median_ms(ask: Callable[[codes.Codes], object], queries_QY: codes.Codes) -> float:
    ask(queries_QY[0])
    return float(np.median([median_ms(partial(ask, code_Y), 1) for code_Y in queries_QY]))


def _flat_ms(codes_NY: codes.Codes, queries_QY: codes.Codes) -> float:
    flat = peers.flat(np.ascontiguousarray(codes_NY), 1)
    return _median_ms(peers.faiss_search(flat, _K), np.ascontiguousarray(queries_QY))


def _batch(
    index: CodeIndex, codes_NY: codes.Codes, queries_QY: codes.Codes, report: Report, kind: str
) -> tuple[float, bool]:
    """Return how many times faster than faiss a batch of both parts is; and whether it is exact."""
    flat = peers.flat(codes_NY, 1)
    theirs = median_ms(partial(flat.search, queries_QY, _K), 1) / len(queries_QY)
    ask = partial(index.search_batch, queries_QY, [Limits(_K)] * len(queries_QY), comparison=_BOTH)
    ours = median_ms(ask, 1) / len(queries_QY)
    report(kind, "faiss Flat, batch of 64", theirs, None)
    report(kind, "this index, both, batch of 64", ours, theirs / ours)
    return theirs / ours, _is_exact(ask()[:_CHECKED], codes_NY, queries_QY, _BOTH)


def _is_exact(
    answers: Sequence[Hits], codes_NY: codes.Codes, queries_QY: codes.Codes, comparison: Comparison
) -> bool:
    """Compare the answers to the first queries with the oracle's, by distance, tie and row."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        nearest = pool.map(partial(_nearest, codes_NY, comparison=comparison), queries_QY[: len(answers)])
        return all(
            np.array_equal(hits.rows_K, rows) and np.array_equal(hits.distances_K, distances)
            for hits, (rows, distances) in zip(answers, nearest, strict=True)
        )


def _nearest(codes_NY: codes.Codes, code_Y: codes.Codes, comparison: Comparison) -> codes.Nearest:
    """Return the first rows and their distances in plain numpy."""
    words_NW, query_W = codes_NY.view(np.uint64), code_Y.view(np.uint64)
    kind_N = np.bitwise_count(words_NW[:, 0] ^ query_W[0]).astype(np.int32)
    look_N = np.zeros(len(codes_NY), np.int32)
    for word in range(1, words_NW.shape[1]):
        look_N += np.bitwise_count(words_NW[:, word] ^ query_W[word])
    parts = (kind_N, look_N)
    distances_N, ties_N = (
        sum(np.int32(weight) * part_N for weight, part_N in zip(weights, parts, strict=True))
        for weights in (comparison.weights, comparison.tie_weights)
    )
    kth = np.partition(distances_N, _K - 1)[_K - 1]
    rows = np.flatnonzero(distances_N <= kth)
    rows = rows[np.lexsort((rows, ties_N[rows], distances_N[rows]))][:_K]
    return rows, distances_N[rows]


def _filters(index: CodeIndex, codes_NY: codes.Codes, queries_QY: codes.Codes) -> bool:
    """Print what boxes cost beside no filter; return whether the answers were the oracle's."""
    table = Table("composite, filter", "compare", "filtered ms", "unfiltered ms", "/")
    columns, exact = columns_of(len(index)), True
    spans = spans_of(columns)
    for share in _SHARES:
        wanted = box_of(share)
        select = partial(select_rows, columns, spans, wanted)
        rows_M = rows_of(select())
        for name, (comparison, _) in _WAYS.items():
            rows, _ = _nearest(codes_NY[rows_M], queries_QY[0], comparison)
            hits = index.search(queries_QY[0], Limits(_K, row_filter=select()), comparison=comparison)
            exact &= np.array_equal(hits.rows_K, rows_M[rows])
            ours = _median_ms(partial(_filtered, index, comparison, select), queries_QY[:9])
            whole = _median_ms(
                partial(index.search, limits=Limits(_K), comparison=comparison), queries_QY[:9]
            )
            table.add_row(f"{share:.2%}", name, f"{ours:.3f}", f"{whole:.3f}", f"{ours / whole:.2f}")
    Console().print(table)
    return exact


def _filtered(
    index: CodeIndex, comparison: Comparison, select: Callable[[], RowFilter], code_Y: codes.Codes
) -> object:
    return index.search(code_Y, Limits(_K, row_filter=select()), comparison=comparison)
