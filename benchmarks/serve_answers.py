"""What the service's other answers cost: columns, batches, heat, changes; each asked over HTTP."""

import gzip
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import httpx
from rich.console import Console

from benchmarks import served
from benchmarks.traffic import KEY

_LARGE = 10_000
_BATCH = 256
_ROUNDS = 5


def measure(url: str, rows: Sequence[int], console: Console) -> dict[str, float]:
    """Return the figures; ``rows``: chips that are asked with."""
    headers = {"Authorization": f"Bearer {KEY}", "Accept-Encoding": "gzip"}
    with httpx.Client(base_url=url, headers=headers, timeout=120) as http:
        large = [_large(http, row) for row in rows[:_ROUNDS]]
        figures = {
            "columns_mb": round(statistics.median(size for size, _ in large) / 1e6, 3),
            "columns_s": round(statistics.median(seconds for _, seconds in large), 3),
            "grid_s": _median(http, "/v1/search/grid", [_grid(row) for row in rows[:_ROUNDS]]),
            # each round asks for another number of pairs, so that none is answered from memory
            "changes_s": _median(http, "/v1/changes", [{"k": 100 + number} for number in range(3)]),
            "batch_queries_per_second": _batches(http, rows),
        }
    console.print(f"other answers: {figures}")
    return figures


def _large(http: httpx.Client, row: int) -> tuple[int, float]:
    """Return the size of a large answer in columns, as it is sent [bytes], and how long it takes [s]."""
    query = {"chip_ids": [served.chip_id(row)], "k": _LARGE, "limit": _LARGE, "format": "columns"}
    started = time.perf_counter()
    with http.stream("POST", "/v1/search", json=query) as answer:
        body = b"".join(answer.iter_raw())
    seconds = time.perf_counter() - started
    assert answer.status_code == 200, body
    assert json.loads(gzip.decompress(body))["numberReturned"] == _LARGE
    return len(body), seconds


def _grid(row: int) -> dict[str, Any]:
    return {"chip_ids": [served.chip_id(row)], "width": 512, "height": 512}


def _median(http: httpx.Client, path: str, bodies: Sequence[dict[str, Any]]) -> float:
    """Return the median of the times that some requests take [s]; the first one is asked twice."""
    times = []
    for body in [bodies[0] | {"min_valid_fraction": 0.0}, *bodies]:
        started = time.perf_counter()
        http.post(path, json=body).raise_for_status()
        times.append(time.perf_counter() - started)
    return round(statistics.median(times[1:]), 3)


def _batches(http: httpx.Client, rows: Sequence[int]) -> float:
    """Return how many queries a second are answered, one batch after the other."""
    queries = [
        {"chip_ids": [served.chip_id(row)], "k": 10, "format": "columns"} for row in (list(rows) * 2)[:_BATCH]
    ]
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        answer = http.post("/v1/search/batch", json={"queries": queries})
        times.append(time.perf_counter() - started)
        assert len(answer.json()["answers"]) == _BATCH
    return round(_BATCH / statistics.median(times), 1)
