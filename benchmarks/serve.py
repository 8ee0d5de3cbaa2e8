"""What queries cost over HTTP: `python -m benchmarks.serve`; 2 M chips, service and clients on one machine.

Each figure has its measure in the same run: a service of the same topology that does nothing, the same
service without swaps, other libraries over the same codes. `--quick` takes a tenth of the chips and seconds.
"""

import argparse
import hashlib
import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from PIL import Image
from ray import serve
from rich.console import Console
from rich.table import Table

from benchmarks import codes, serve_answers, serve_peers, served
from benchmarks.traffic import KEY, Answered, Request, in_turn, saturated, steady
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import free_port
from pipelines.runtime.cluster import connected
from pipelines.serve.config import ServeConfig
from pipelines.serve.proxy import haproxy
from pipelines.serve.run import serving
from pipelines.storage.store import Store

RATE = 50.0
"""Requests a second of the steady load."""
K = 10
_ROUNDS = 3  # of service and nothing in turn
_SWAPS = 20
_QUERIES = 500


def main() -> None:
    """Measure, print tables, and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, default=2_000_000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each steady load")
    parser.add_argument("--quick", action="store_true", help="200,000 chips, 6 seconds, no other libraries")
    arguments = parser.parse_args()
    chips, seconds = (200_000, 6.0) if arguments.quick else (arguments.chips, arguments.seconds)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    console = Console()
    with TemporaryDirectory(prefix="scenehash-bench-") as name, haproxy(), connected():
        folder, store = Path(name), Store(StoreConfig())
        versions = served.build(folder, chips, store)
        console.print(f"{chips} chips built")
        figures = against_nothing(folder, versions, arguments.shards, seconds, console)
        figures |= images(folder, console)
        if not arguments.quick:
            serve_peers.compare(versions[0], queries(versions[0])[:200], folder, console)
    print(json.dumps({"serve": figures}))


def queries(codes_NY: codes.Codes) -> list[int]:
    """Return the rows that are asked with."""
    rows: list[int] = np.random.default_rng(2).integers(0, len(codes_NY), _QUERIES).tolist()
    return rows


@contextmanager
def service(folder: Path, shards: int, encode_batch: int = 8) -> Iterator[str]:
    """Run the query service over the archive."""
    config = ServeConfig(
        table=str(folder / "table"),
        index_folder=folder / "indices",
        key_hashes=(hashlib.sha256(KEY.encode()).hexdigest(),),
        port=free_port(),
        shards=shards,
        poll_seconds=0.5,
        encode_batch=encode_batch,
    )
    with serving(config) as url:
        yield url


def against_nothing(
    folder: Path, versions: list[codes.Codes], shards: int, seconds: float, console: Console
) -> dict[str, Any]:
    """Return latencies of a steady load beside those of a service that does nothing, and while it swaps."""
    rows = queries(versions[0])
    with service(folder, shards) as url:
        requests = [
            Request(f"{url}/v1/search", json.dumps({"chip_ids": [served.chip_id(row)], "k": K}).encode())
            for row in rows
        ]
        answer = steady(in_turn(requests), RATE, 0.1, keep=True).bodies[0][1]
        serve.run(served.nothing(answer, shards), name="nothing", route_prefix="/nothing")
        idle = [Request(f"{url}/nothing/search", request.body) for request in requests]
        loads: dict[str, list[Answered]] = {"search": [], "nothing": []}
        for _ in range(_ROUNDS):
            loads["search"].append(steady(in_turn(requests), RATE, seconds / _ROUNDS))
            loads["nothing"].append(steady(in_turn(idle), RATE, seconds / _ROUNDS))
        joined = {name: _joined(parts) for name, parts in loads.items()}
        ratios = throughput(url, rows, shards, console)
        others = serve_answers.measure(url, rows, console)
        memory = resident("Shard" if shards > 1 else "Ingress")
        swapped = swaps(folder, requests, rows, versions, seconds)
        console.print(latencies({**joined, "search, 20 swaps": swapped.load}))
    search = joined["search"]
    return {
        "p50_ms": round(search.percentile(50), 2),
        "p99_ms": round(search.percentile(99), 2),
        "errors": search.errors,
        "vs_noop": round(search.percentile(50) / joined["nothing"].percentile(50), 3),
        "swap_errors": swapped.load.errors,
        "mixed_answers": swapped.mixed,
        "swap_p99_ratio": round(swapped.load.percentile(99) / search.percentile(99), 2),
        "rss_bytes_per_chip": round(memory / len(versions[0]), 1),
        "throughput_vs_noop": ratios,
        **others,
    }


def _joined(parts: list[Answered]) -> Answered:
    return Answered(
        [seconds for part in parts for seconds in part.seconds],
        sum((part.failed for part in parts), Counter()),
        elapsed=sum(part.elapsed for part in parts),
    )


def resident(name: str) -> int:
    """Return the memory of all replicas of deployments with this in their name, mapped files included."""
    processes = psutil.process_iter(["cmdline", "memory_info"])
    return sum(
        process.info["memory_info"].rss
        for process in processes
        if any(f"ServeReplica:scenehash:{name}" in part for part in process.info["cmdline"] or ())
    )


def throughput(url: str, rows: list[int], shards: int, console: Console) -> dict[str, float]:
    """Print how many requests a second there are at most, in columns; return shares of doing nothing."""
    requests = [
        Request(
            f"{url}/v1/search",
            json.dumps({"chip_ids": [served.chip_id(row)], "k": K, "format": "columns"}).encode(),
        )
        for row in rows
    ]
    answer = steady(in_turn(requests), RATE, 0.1, keep=True).bodies[0][1]
    serve.run(served.nothing(answer, shards), name="nothing", route_prefix="/nothing")
    idle = [Request(f"{url}/nothing/search", request.body) for request in requests]
    ratios = {}
    table = Table(
        "clients", "searches/s", "p50 ms", "p99 ms", "doing nothing/s", title="as fast as answers come"
    )
    for clients in (1, 8, 32):
        parts = [[saturated(in_turn(each), clients, 2) for each in (requests, idle)] for _ in range(_ROUNDS)]
        search, nothing = (_joined([part[service] for part in parts]) for service in (0, 1))
        table.add_row(
            str(clients),
            f"{len(search.seconds) / search.elapsed:.0f}",
            f"{search.percentile(50):.1f}",
            f"{search.percentile(99):.1f}",
            f"{len(nothing.seconds) / nothing.elapsed:.0f}",
        )
        share = len(search.seconds) / search.elapsed / (len(nothing.seconds) / nothing.elapsed)
        ratios[f"{clients}_clients"] = round(share, 3)
    console.print(table)
    return ratios


class Swapped:
    """A steady load while versions are published, and what was wrong with its answers."""

    def __init__(self, load: Answered, mixed: int) -> None:
        self.load, self.mixed = load, mixed


def swaps(
    folder: Path, requests: list[Request], rows: list[int], versions: list[codes.Codes], seconds: float
) -> Swapped:
    """Publish the two versions in turn; every answer must be the one of the version that it names."""
    store = Store(StoreConfig())

    def publish_in_turn() -> None:
        for number in range(_SWAPS):
            time.sleep(seconds / (_SWAPS + 1))
            served.publish_version(folder, store, (number + 1) % 2)

    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish_in_turn)
        load = steady(in_turn(requests), RATE, seconds, keep=True)
        publishing.result()
    wanted: dict[tuple[int, int], list[tuple[int, str]]] = {}
    mixed, seen = 0, set()
    for number, body in load.bodies:
        answer = json.loads(body) if body else {}
        if "search" not in answer:
            continue
        row, version = rows[number % len(rows)], answer["search"]["snapshot"]
        seen.add(version)
        if (row, version) not in wanted:
            wanted[row, version] = expected(versions[version - 1], row)
        found = [(each["properties"]["distance"], each["id"]) for each in answer["features"]]
        mixed += found != wanted[row, version]
    assert len(seen) == 2, "no swap was seen"
    return Swapped(load, mixed)


def expected(codes_NY: codes.Codes, row: int) -> list[tuple[int, str]]:
    """Return the answer to a chip of the table, by brute force."""
    rows, distances = codes.nearest(codes_NY, codes_NY[row], K + 1)
    pairs = [(int(bits), served.chip_id(near)) for near, bits in zip(rows.tolist(), distances, strict=True)]
    return [pair for pair in pairs if pair[1] != served.chip_id(row)][:K]


def images(folder: Path, console: Console) -> dict[str, float]:
    """Return how many images a second are searched with, 16 at a time, with and without batches."""
    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(32):
        picture = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (150, 150, 3), np.uint8)).save(picture, "JPEG")
        pictures.append(picture.getvalue())
    rates = {}
    for name, batch in (("batched", 8), ("alone", 1)):
        with service(folder, 1, encode_batch=batch) as url:
            requests = [Request(f"{url}/v1/search/image", picture, "image/jpeg") for picture in pictures]
            saturated(in_turn(requests), 4, 2)
            load = saturated(in_turn(requests), 16, 10)
            rates[f"images_per_second_{name}"] = round(len(load.seconds) / load.elapsed, 2)
    console.print(f"images a second, 16 clients: {rates}")
    return rates


def latencies(loads: dict[str, Answered]) -> Table:
    """Return the latencies of loads as a table."""
    table = Table(
        "load", "p50 ms", "p90 ms", "p99 ms", "requests", "errors", title=f"{RATE:.0f} requests a second"
    )
    for name, load in loads.items():
        shares = [f"{load.percentile(share):.1f}" for share in (50, 90, 99)]
        table.add_row(name, *shares, str(len(load.seconds)), str(dict(load.failed) or 0))
    return table


if __name__ == "__main__":
    main()
