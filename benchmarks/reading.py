"""Whole or by ranges: `python -m benchmarks.reading`, on a real S3 server, at once and 40 ms away.

All chips of scenes of several sizes are read as a night reads them, once from the whole object and once by
ranges: at full resolution, and at a quarter. `pipelines.storage.ranges.FOR_CHIPS` has the limit that follows.
"""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.pictures import cog
from benchmarks.slow_store import slow_store
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY, object_store
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import Grid, read_chips
from pipelines.imagery.pixels import PixelSpec
from pipelines.imagery.raster import open_raster
from pipelines.storage.ranges import FOR_CHIPS
from pipelines.storage.store import Store

_SIDES = (2048, 4096, 8192)  # pixels: 14, 60 and 240 MB
_DELAYS = (0.0, 0.04)  # seconds
_NEVER = replace(FOR_CHIPS, whole=FOR_CHIPS.first)
_ALWAYS = replace(FOR_CHIPS, whole=1 << 40)


def main() -> None:
    """Measure, print a table, and give how much longer ranges take as the last line."""
    os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    table = Table("MB", "delay ms", "resolution", "whole s", "by ranges s", "ratio")
    ratios: dict[str, float] = {}
    with TemporaryDirectory(prefix="scenehash-bench-") as name:
        folder = Path(name)
        with object_store(folder / "store", "bench") as endpoint, slow_store(endpoint) as slow:
            store = Store(StoreConfig(endpoint=slow.endpoint))
            for side in _SIDES:
                content = cog(folder / "scene.tif", side, "deflate")
                uri = f"s3://bench/{side}.tif"
                Store(StoreConfig(endpoint=endpoint)).write(uri, content)
                for delay in _DELAYS:
                    slow.delay.value = delay
                    for resolution in (None, 40.0):
                        whole, ranged = _seconds(store, uri, resolution)
                        share = "full" if resolution is None else "quarter"
                        figures = len(content) / 1e6, delay * 1000, share, whole, ranged, ranged / whole
                        table.add_row(*(f"{each:.3g}" if share != each else share for each in figures))
                        ratios[f"{len(content) // 1_000_000}_mb_{delay * 1000:.0f}_ms_{share}"] = round(
                            ranged / whole, 3
                        )
    Console().print(table)
    print(json.dumps({"reading": ratios}))


def _seconds(store: Store, uri: str, resolution: float | None) -> list[float]:
    """Return how long all chips take from the whole object, and by ranges: the better of two."""
    taken: list[list[float]] = [[], []]
    for _ in range(2):
        for number, reading in enumerate((_ALWAYS, _NEVER)):
            started = time.perf_counter()
            with open_raster(store.open_version(uri, "", reading)) as scene:
                grid = Grid(256, resolution=resolution, edges="shift")
                for _chip in read_chips(scene, georeference(scene), grid, PixelSpec((1, 2, 3))):
                    pass
            taken[number].append(time.perf_counter() - started)
    return [min(each) for each in taken]


if __name__ == "__main__":
    main()
