"""How fast exact search is, beside what people use: `python -m benchmarks.search`; `--quick` in under 90 s.

Ratios are of one run, on one thread each. Every answer is compared with plain numpy's; ``exact`` in the last
line says whether all were the same.

Shapes: N codes, Q queries, Y bytes a code.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import codes, composite, large, peers
from pipelines.hamming.arrays import build_arrays
from pipelines.hamming.code_index import CodeIndex
from pipelines.hamming.limits import Limits
from pipelines.hamming.one_part import Method

_K, _QUERIES, _BATCH = 10, 15, 64
_TEN_MILLION = 10_000_000


@dataclass
class Bench:
    """The figures so far, and whether all answers were right."""

    figures: dict[str, float] = field(default_factory=dict)
    exact: bool = True
    table: Table = field(default_factory=lambda: Table("codes", "search", "median ms", "ratio", "recall"))

    def check(self, index: CodeIndex, codes_NY: codes.Codes, queries_QY: codes.Codes, method: Method) -> None:
        """Compare answers with the oracle's."""
        oracle = codes.all_nearest(codes_NY, queries_QY, _K)
        for code_Y, (rows, distances) in zip(queries_QY, oracle, strict=True):
            hits = index.search(code_Y, Limits(_K), method=method)
            same = np.array_equal(hits.rows_K, rows) and np.array_equal(hits.distances_K, distances)
            self.exact &= bool(same)

    def row(
        self, kind: str, name: str, milliseconds: float, ratio: float | None = None, recall: float = 1.0
    ) -> None:
        """Add a line to the table."""
        beside = "" if ratio is None else f"{ratio:.1f} x"
        self.table.add_row(kind, name, f"{milliseconds:.3f}", beside, f"{recall:.3f}")


def median_ms(ask: Callable[[codes.Codes], object], queries_QY: codes.Codes) -> float:
    """Return the median time of a query, after one to warm up."""
    ask(queries_QY[0])
    times = []
    for code_Y in queries_QY:
        started = time.perf_counter()
        ask(code_Y)
        times.append((time.perf_counter() - started) * 1000)
    return float(np.median(times))


def once_ms(work: Callable[[], object]) -> float:
    """Return the better time of two."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return min(times)


def asking(index: CodeIndex, method: Method = "auto") -> Callable[[codes.Codes], object]:
    """Return the search for one query."""
    return lambda code_Y: index.search(code_Y, Limits(_K), method=method)


def against_flat(
    bench: Bench, kind: str, codes_NY: codes.Codes, queries_QY: codes.Codes
) -> tuple[CodeIndex, float]:
    """Compare one query with faiss Flat; return the index, and how many times faster it is."""
    index = CodeIndex(build_arrays(codes_NY))
    flat = peers.flat(codes_NY, 1)
    singles_QY = queries_QY[:_QUERIES]
    bench.check(index, codes_NY, singles_QY, "auto")
    bench.check(index, codes_NY, singles_QY[:3], "scan")
    ours = median_ms(asking(index), singles_QY)
    theirs = median_ms(peers.faiss_search(flat, _K), singles_QY)
    bits = codes_NY.shape[1] * 8
    kind = f"{kind}, {len(codes_NY) / 1e6:g} M x {bits}"
    bench.row(kind, "faiss Flat", theirs)
    bench.row(kind, f"this index ({index.search(singles_QY[0], Limits(_K)).method})", ours, theirs / ours)
    bench.row(kind, "this index (scan)", median_ms(asking(index, "scan"), singles_QY))
    bench.figures[f"bytes_per_code_{bits}" if bits > 64 else "bytes_per_code"] = round(
        index.resident_bytes / len(codes_NY), 1
    )
    return index, theirs / ours


def batch_against_flat(
    bench: Bench, index: CodeIndex, codes_NY: codes.Codes, queries_QY: codes.Codes
) -> None:
    """Compare a batch of 64 by scan only, and the scan with reading memory."""
    flat = peers.flat(codes_NY, 1)
    oracle = codes.all_nearest(codes_NY, queries_QY, _K)
    batch = index.search_batch(queries_QY, [Limits(_K)] * len(queries_QY), method="scan")
    for hits, (rows, _) in zip(batch, oracle, strict=True):
        bench.exact &= np.array_equal(hits.rows_K, rows)
    ours = once_ms(
        lambda: index.search_batch(queries_QY, [Limits(_K)] * len(queries_QY), method="scan")
    ) / len(queries_QY)
    theirs = once_ms(lambda: flat.search(queries_QY, _K)) / len(queries_QY)
    bench.row("uniform, batch of 64", "faiss Flat", theirs)
    bench.row("uniform, batch of 64", "this index (scan)", ours, theirs / ours)
    bench.figures["batch_vs_flat"] = theirs / ours
    words_U = index.arrays.groups.codes_WU[0]
    scans, reads = [], []
    for code_Y in queries_QY[:9]:  # in turn, as the machine's other work comes and goes
        scans.append(once_ms(partial(index.search, code_Y, Limits(_K), method="scan")))
        reads.append(once_ms(words_U.sum))
    read, scan = float(np.median(reads)), float(np.median(scans))
    bench.row("uniform", "reading the codes once (numpy's sum)", read, read / scan)
    bench.figures["scan_bandwidth_ratio"] = read / scan


def against_others(
    bench: Bench, index: CodeIndex, codes_NY: codes.Codes, queries_QY: codes.Codes, *, full: bool
) -> None:
    """Compare with exact and approximate peers; of the latter the quickest at recall .99 or more counts."""
    wanted = [distances for _, distances in codes.all_nearest(codes_NY, queries_QY, _K)]
    ours, best = median_ms(asking(index), queries_QY), float("inf")
    with tempfile.TemporaryDirectory() as folder:
        for name, ask in peers.exact(codes_NY, _K, Path(folder)) if full else ():
            took = median_ms(ask, queries_QY[:5])
            bench.row("learned-like", name, took, took / ours)
    for name, ask in peers.approximate(codes_NY, _K, full=full):
        took, recall = (
            median_ms(ask, queries_QY),
            peers.recall([ask(code_Y) for code_Y in queries_QY], wanted),
        )
        bench.row("learned-like", name, took, took / ours, recall)
        if recall >= 0.99:
            best = min(best, took)
    bench.figures["vs_best_approximate"] = best / ours


def scaling(bench: Bench, kind: str, index: CodeIndex, queries_QY: codes.Codes) -> None:
    """Compare queries a second of two threads with one's: compiled code doesn't hold the GIL."""
    took = {}
    for threads in (1, 2):
        with ThreadPoolExecutor(threads) as pool:
            work = partial(lambda pool: list(pool.map(asking(index), queries_QY)), pool)
            took[threads] = once_ms(work) / len(queries_QY)
    bench.row(kind, "this index, two threads, a query each", took[2], took[1] / took[2])


def grid(bench: Bench, kind: str, index: CodeIndex, queries_QY: codes.Codes) -> None:
    """Print scan, multi-index and what `auto` takes side by side, over radii and k."""
    table = Table("codes", "asked", "scan ms", "multi-index ms", "auto ms", "auto / better")
    limits: Sequence[tuple[int | None, int | None]] = [(1, None), (10, None), (100, None), (10_000, None)]
    limits = [*limits, *((None, radius) for radius in (0, 2, 4, 8))]
    for k, radius in limits:
        took = []
        for method in ("scan", "mih", "auto"):
            ask = partial(index.search, limits=Limits(k, radius), method=method)
            took.append(median_ms(ask, queries_QY[:7]))
        asked = f"k = {k}" if radius is None else f"radius {radius}"
        better = took[2] / min(took[:2])
        table.add_row(kind, asked, *(f"{value:.3f}" for value in took), f"{better:.2f}")
        bench.figures["worst_choice"] = max(bench.figures.get("worst_choice", 0), better)
    Console().print(table)


def main() -> None:
    """Measure, print the tables, and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 M codes, no graphs: under 90 s on 2 cores")
    parser.add_argument(
        "--codes",
        type=Path,
        help="real codes_NY as .npy, of 64 kind and 192 look bits: tiled to size with noise",
    )
    parser.add_argument("--disk", type=int, default=0, help="so many codes on disk too, such as 100000000")
    parser.add_argument("--size", type=int, default=_TEN_MILLION, help="codes")
    arguments = parser.parse_args()
    bench, full = Bench(), not arguments.quick
    size = arguments.size
    queries_QY = codes.learned_like(_BATCH, 64, seed=1)
    learned_NY = codes.learned_like(size, 64)
    index, bench.figures["learned_vs_flat"] = against_flat(bench, "learned-like", learned_NY, queries_QY)
    against_others(bench, index, learned_NY, queries_QY[:_QUERIES], full=full)
    if full:
        grid(bench, "learned-like", index, queries_QY)
        scaling(bench, "learned-like", index, queries_QY)
        bench.exact &= large.filters(index, queries_QY, learned_NY)
    del index, learned_NY
    random_NY, queries_QY = codes.uniform(size, 64), codes.uniform(_BATCH, 64, seed=1)
    index, bench.figures["uniform_vs_flat"] = against_flat(bench, "uniform", random_NY, queries_QY)
    batch_against_flat(bench, index, random_NY, queries_QY)
    if full:
        grid(bench, "uniform", index, queries_QY)
        scaling(bench, "uniform", index, queries_QY)
        bench.exact &= large.filters(index, queries_QY, random_NY)
        for bits in (128, 256):
            longer_NY, queries_QY = codes.learned_like(size, bits), codes.learned_like(_BATCH, bits, seed=1)
            _, bench.figures[f"learned_{bits}_vs_flat"] = against_flat(
                bench, "learned-like", longer_NY, queries_QY
            )
    del index, random_NY
    longer_NY, queries_QY = codes.uniform(size, 256), codes.uniform(_BATCH, 256, seed=1)
    index, bench.figures["uniform256_vs_flat"] = against_flat(bench, "uniform", longer_NY, queries_QY)
    if full:
        grid(bench, "uniform, 256 bits", index, queries_QY)
    del index, longer_NY
    codes_RY = np.load(arguments.codes) if arguments.codes else codes.composite_like()
    print("composite codes:", arguments.codes or "stand-ins for real ones (give these with --codes)")
    if arguments.codes and full:
        kind_RY = np.ascontiguousarray(codes_RY[:, :8])
        real_NY, queries_QY = (
            codes.tiled(kind_RY, count, 0.02, seed) for count, seed in ((size, 0), (_BATCH, 1))
        )
        _, bench.figures["real_vs_flat"] = against_flat(bench, "real kind bits, tiled", real_NY, queries_QY)
        del real_NY
    figures, is_exact = composite.composite(codes_RY, size, _QUERIES, bench.row, full=full)
    bench.figures |= figures
    bench.exact &= is_exact
    for kind in ("learned", "uniform") if arguments.disk else ():
        figures = large.on_disk(arguments.disk, kind)
        bench.exact &= bool(figures.pop("exact"))
        bench.figures |= {f"disk_{kind}_{name}": value for name, value in figures.items()}
    Console().print(bench.table)
    print(
        json.dumps(
            {
                "search": {name: round(value, 2) for name, value in bench.figures.items()}
                | {"exact": bench.exact}
            }
        )
    )


if __name__ == "__main__":
    main()
