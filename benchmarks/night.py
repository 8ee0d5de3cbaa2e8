"""Whole nights by the real job, from the command to the published pointer: `python -m benchmarks.night`.

Archives in an S3 server on this machine: many small objects of one chip each, and few large scenes. Networks:
the default one, and one that costs next to nothing, so that what is left is what stands beside a fast GPU. A
proxy adds 0 or 40 ms to each answer of the store. `--part` runs some of it, `--share` smaller archives.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.night_archives import (
    CHIP_SIDE,
    SMALL_SIDE,
    costless_network,
    default_network,
    put_bundle,
    put_known,
    put_large,
    put_small,
)
from benchmarks.night_run import Night, run_night
from benchmarks.slow_store import SlowStore, slow_store
from model.network import HashNetwork
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY, object_store
from pipelines.storage.store import Store

_SMALL, _FEW_SMALL, _LARGE, _KNOWN = 10_000, 4_000, 6, 100_000  # objects
_UNITS = 20
_LATENCY_MS = 40
_FORWARD_CHIPS = 192
_ANY_CODES = {"gate.max_stuck_bits": 1, "gate.min_bit_entropy": 0, "gate.min_distinct_ratio": 0}
"""Codes of untrained networks are alike."""

_print = Console().print


@dataclass(frozen=True)
class Bench:
    """What all parts share."""

    store: Store
    share: float
    slow: SlowStore
    """What the nights see of the store."""

    def objects(self, count: int) -> int:
        """Return how many objects a part of ``count`` takes."""
        return max(1, round(count * self.share))

    def night(self, name: str, milliseconds: int = 0, **flags: object) -> Night:
        """Run a night on a table of its own, and print where its time went."""
        table = f"s3://bench/tables/{name}-{time.time_ns()}"
        self.slow.delay.value = milliseconds / 1000
        night = run_night(StoreConfig(endpoint=self.slow.endpoint), **({"table": table} | _ANY_CODES | flags))
        _print(
            f"{name}: {night.report['chips']} chips, {night.chips_per_second:.1f} a second, "
            f"{night.chips_per_cpu_second:.0f} a processor-second; {night.stages()}"
        )
        _print(f"  processor time: {night.processes()}")
        return night

    def small(self, count: int) -> dict[str, Any]:
        """Return the flags of a night over so many small objects, which are written first."""
        prefix = f"s3://bench/small-{self.objects(count)}"
        if self.store.page(prefix).objects == []:
            put_small(self.objects(count), prefix, self.store)
        return {"source": prefix, "chip_size": SMALL_SIDE}

    def large(self) -> dict[str, Any]:
        """Return the flags of a night over the large scenes, which are written first."""
        prefix = "s3://bench/large"
        if self.store.page(prefix).objects == []:
            put_large(self.objects(_LARGE), prefix, self.store)
        return {"source": prefix, "chip_size": CHIP_SIDE}


def main() -> None:
    """Measure, print, and give the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=_PARTS, action="append", help="only this; may be repeated")
    parser.add_argument("--share", type=float, default=1, help="of the objects of each archive, 0..1")
    arguments = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    figures: dict[str, float] = {}
    with (
        TemporaryDirectory() as folder,
        object_store(Path(folder), "bench") as endpoint,
        slow_store(endpoint) as slow,
    ):
        store = Store(StoreConfig(endpoint=endpoint))
        bench = Bench(store, arguments.share, slow)
        for part in arguments.part or _PARTS:
            figures |= _PARTS[part](bench)
    print(json.dumps({"night": {name: round(figure, 3) for name, figure in figures.items()}}))


def vs_forward(bench: Bench) -> dict[str, float]:
    """Compare a night with the default network to its bare forward pass, measured before and after."""
    network = default_network()
    bundle, flags = put_bundle(network, "default", bench.store), bench.small(_FEW_SMALL)
    rates = [forward(network)]
    night = bench.night("default network", bundle=bundle, **flags)
    rates.append(forward(network))
    _print(f"bare forward pass: {rates[0]:.1f} chips a second before, {rates[1]:.1f} after")
    return {"vs_forward": night.chips_per_second / float(np.mean(rates))}


def forward(network: HashNetwork, batch: int = 32) -> float:
    """Return chips a second of `HashNetwork.encode` on chips in memory, one thread for each core."""
    rng = np.random.default_rng(0)
    chips_NHWC = torch.from_numpy(rng.integers(0, 256, (_FORWARD_CHIPS, SMALL_SIDE, SMALL_SIDE, 3), np.uint8))
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(network.encode, torch.split(chips_NHWC[: cores * 8], 8)))
        started = time.perf_counter()
        list(pool.map(network.encode, torch.split(chips_NHWC, batch)))
        seconds = time.perf_counter() - started
    torch.set_num_threads(cores)
    return len(chips_NHWC) / seconds


def fed(bench: Bench) -> dict[str, float]:
    """Measure what reading, cutting and writing take, with and without latency."""
    bundle = put_bundle(costless_network(), "costless", bench.store)
    figures, ratios = {}, []
    for name, flags in (("small", bench.small(_SMALL)), ("large", bench.large())):
        nights = [
            bench.night(f"{name}, {milliseconds} ms", milliseconds, bundle=bundle, **flags)
            for milliseconds in (0, _LATENCY_MS)
        ]
        figures[f"fed_{name}"] = nights[0].chips_per_cpu_second
        ratios.append(nights[1].chips_per_second / nights[0].chips_per_second)
        _print(f"{name}: {ratios[-1]:.2f} of the rate with {_LATENCY_MS} ms a request")
    return figures | {"latency_ratio": min(ratios)}


def units(bench: Bench) -> dict[str, float]:
    """Compare a night of many units with one of a single unit; what memory does meanwhile."""
    bundle, flags = put_bundle(costless_network(), "costless", bench.store), bench.small(_FEW_SMALL)
    count = bench.objects(_FEW_SMALL)
    one, many = (
        bench.night(f"{units} units", bundle=bundle, objects_per_unit=-(-count // units), **flags)
        for units in (1, _UNITS)
    )
    figures = {"units_ratio": many.seconds / one.seconds, "rss_ratio": many.growth()}
    for name, samples in many.watched.rss_mb.items():
        _print(f"{name}: at most {max(mb for _, mb in samples):.0f} MB")
    return figures


def idle(bench: Bench) -> dict[str, float]:
    """Measure a night with nothing to do."""
    bundle = put_bundle(costless_network(), "costless", bench.store)
    table = f"s3://bench/tables/known-{time.time_ns()}"
    source = put_known(bench.objects(_KNOWN), table, bundle, bench.store)
    flags: dict[str, Any] = {"source": source, "chip_size": SMALL_SIDE, "table": table, "bundle": bundle}
    bench.night("the first night", **flags)
    return {"idle_s": bench.night("nothing new", **flags).seconds}


_PARTS: dict[str, Callable[[Bench], dict[str, float]]] = {
    "vs_forward": vs_forward,
    "fed": fed,
    "units": units,
    "idle": idle,
}


if __name__ == "__main__":
    main()
