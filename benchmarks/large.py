"""Parts of `benchmarks.search` that take longer: filters, and an index of any size on disk."""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import codes
from pipelines.hamming.arrays import build_arrays, joined, separate
from pipelines.hamming.code_index import CodeIndex
from pipelines.hamming.limits import Limits
from pipelines.hamming.row_filter import NO_TIME, Columns, Criteria, RowFilter, rows_of
from pipelines.index.files import Arrays, open_folder, write_folder
from pipelines.index.filters import criteria, select_rows, spans_of

_SHARES = (0.0001, 0.01, 0.5)


def median_ms(work: Callable[[], object], repeats: int = 9) -> float:
    """Return the median time, after one to warm up."""
    work()
    return float(np.median([once_ms(work) for _ in range(repeats)]))


def once_ms(work: Callable[[], object]) -> float:
    """Return the time that work takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def columns_of(count: int, seed: int = 0) -> Columns:
    """Return chips all over the map in the order of a Z curve, as the nightly writes them."""
    places_N2 = np.random.default_rng(seed).integers(0, 2**16, (count, 2), np.uint16)
    curve_N = np.zeros(count, np.uint64)
    for bit in range(16):
        for axis in range(2):
            curve_N |= ((places_N2[:, axis].astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)) << np.uint64(
                2 * bit + axis
            )
    places_N2 = places_N2[np.argsort(curve_N)]
    west_N, south_N = places_N2[:, 0] * (359.9 / 65536) - 180, places_N2[:, 1] * (179.9 / 65536) - 90
    boxes_N4 = np.stack([west_N, south_N, west_N + 0.05, south_N + 0.05], axis=1)
    return Columns(boxes_N4, np.full(count, NO_TIME), np.ones(count, np.float32), np.zeros(count, np.uint32))


def box_of(share: float) -> Criteria:
    """Return a box that holds such a share of the map."""
    side = share**0.5
    return criteria([(-100.0, -60.0, -100.0 + 360 * side, -60.0 + 180 * side)])


def filters(index: CodeIndex, queries_QY: codes.Codes, codes_NY: codes.Codes) -> bool:
    """Print what boxes cost, whichever method; return whether the answers were the oracle's."""
    names = (
        "filter",
        "rows",
        "select ms",
        "scan ms",
        "multi-index ms",
        "auto ms in all",
        "unfiltered ms",
        "/",
    )
    table, columns = Table(*names), columns_of(len(index))
    spans, code_Y = spans_of(columns), queries_QY[0]
    exact = True
    for share in _SHARES:
        wanted = box_of(share)
        select = partial(select_rows, columns, spans, wanted)
        row_filter = select()
        rows_M = rows_of(row_filter)
        rows, _ = codes.nearest(codes_NY[rows_M], code_Y, 10)
        exact &= np.array_equal(index.search(code_Y, Limits(10, row_filter=row_filter)).rows_K, rows_M[rows])
        searching = partial(index.search, code_Y, Limits(10, row_filter=row_filter))
        took = [median_ms(select), *(median_ms(partial(searching, method=way)) for way in ("scan", "mih"))]
        ways = partial(_filtered, index, select), partial(index.search, limits=Limits(10))
        times = [[once_ms(partial(way, asked_Y)) for asked_Y in queries_QY] for way in ways * 4]
        # in turn, as the machine's other work comes and goes; first to warm up
        whole, unfiltered = np.median(times[2::2]), np.median(times[3::2])
        figures = (f"{value:.3f}" for value in (*took, whole, unfiltered))
        table.add_row(f"{share:.2%}", f"{rows_M.size:,}", *figures, f"{whole / unfiltered:.2f}")
    Console().print(table)
    return exact


def _filtered(index: CodeIndex, select: Callable[[], RowFilter], code_Y: codes.Codes) -> object:
    return index.search(code_Y, Limits(10, row_filter=select()))


def on_disk(size: int, kind: str) -> dict[str, float]:
    """Build, write, reopen and search an index of so many codes of 64 bits; return its figures."""
    make = codes.learned_like if kind == "learned" else codes.uniform
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        codes_NY, queries_QY = make(size, 64), make(20, 64, seed=1)
        started = time.perf_counter()
        write_folder(Path(folder) / "index", partial(_built, codes_NY), {})
        figures["build_minutes"] = (time.perf_counter() - started) / 60
        oracle = [codes.nearest(codes_NY, code_Y, 10) for code_Y in queries_QY[:5]]
        del codes_NY
        started = time.perf_counter()
        index = CodeIndex(joined(open_folder(Path(folder) / "index", {})))
        figures["open_seconds"] = time.perf_counter() - started
        before = _resident()
        took = []
        for number, code_Y in enumerate(queries_QY):
            index.search(code_Y, Limits(10))
            started = time.perf_counter()
            hits = index.search(code_Y, Limits(10))
            took.append((time.perf_counter() - started) * 1000)
            if number < len(oracle):
                figures["exact"] = figures.get("exact", True) and np.array_equal(
                    hits.rows_K, oracle[number][0]
                )
        figures["median_ms"] = float(np.median(took))
        figures["touched_bytes_per_code"] = (_resident() - before) / size
        figures["bytes_per_code"] = index.resident_bytes / size
    return figures


def _built(codes_NY: codes.Codes, _: Path) -> Arrays:
    return separate(build_arrays(codes_NY))


def _resident() -> int:
    """Return what of this process is in memory, mapped files included [bytes]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
