"""What writing a unit takes: `python -m benchmarks.unit`. Its memory must not grow with the unit.

Units of chips with 2000 bytes of properties, and of chips with outlines of polar ones, small and large. Each
is written by a process of its own, which makes its blocks when they are asked for, as a night fetches them.
"""

import json
import multiprocessing
import resource
import time
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from rich.console import Console

from pipelines.config import StoreConfig
from pipelines.encode.chips import CHIP, ROW_SCHEMA
from pipelines.encode.shards import Lineage, write_unit
from pipelines.storage.store import Store

_ROWS = 2000  # of a block
_SMALL = 50  # blocks: 100,000 rows
_KINDS = {"properties": (93, 2000, 550), "polar": (4125, 0, 280)}
"""Bytes of an outline, bytes of properties, and blocks of the large unit: more than 2 GiB in one column."""
_COLUMNS = ("cpu_seconds", "gpu_seconds")

_print = Console().print


def main() -> None:
    """Measure, print, and give the figures as the last line."""
    figures: dict[str, float] = {}
    context = multiprocessing.get_context("spawn")
    for kind, (*_, large) in _KINDS.items():
        for size, blocks in (("small", _SMALL), ("large", large)):
            with context.Pool(1) as pool:  # peaks are of a process
                idle_mb, peak_mb, seconds = pool.apply(measure, (kind, blocks))
            _print(
                f"{kind}, {blocks * _ROWS:,} rows: at most {peak_mb:.0f} MB, {idle_mb:.0f} MB before, "
                f"{blocks * _ROWS / seconds:,.0f} rows/s"
            )
            figures[f"{kind}_{size}_peak_mb"] = round(peak_mb)
            figures[f"{kind}_{size}_rows_per_second"] = round(blocks * _ROWS / seconds)
    print(json.dumps({"unit": figures}))


def measure(kind: str, blocks: int) -> tuple[float, float, float]:
    """Write a unit; return this process's memory before it and at its peak [MB], and the seconds."""
    before = _peak_mb()
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        write_unit(
            f"{folder}/codes",
            Store(StoreConfig()),
            Lineage("bench@0", "run"),
            pa.table({"uri": [f"s3://bucket/{number}.tif" for number in range(blocks)]}),
            (block(number, *_KINDS[kind][:2]) for number in range(blocks)),
        )
    return before, _peak_mb(), time.perf_counter() - started


def block(number: int, outline_bytes: int, property_bytes: int) -> pa.Table:
    """Return the rows of one scene, all over the world: no piece of the curve is one block's."""
    rng = np.random.default_rng(number)
    west_N, south_N = rng.uniform(-180, 180, _ROWS), rng.uniform(-90, 90, _ROWS)
    sides = {"xmin": west_N, "ymin": south_N, "xmax": west_N, "ymax": south_N}
    outlines = rng.bytes(outline_bytes * _ROWS)
    values = {
        "bbox": pa.StructArray.from_arrays([pa.array(side) for side in sides.values()], list(sides)),
        "window": pa.array([dict.fromkeys("xywh", 1)] * _ROWS, ROW_SCHEMA.field("window").type),
        "geometry": pa.array(
            [outlines[at : at + outline_bytes] for at in range(0, len(outlines), outline_bytes)]
        ),
        "properties": pa.MapArray.from_arrays(
            np.arange(_ROWS + 1, dtype=np.int32),
            pa.repeat("remark", _ROWS),
            pa.repeat(rng.bytes(property_bytes // 2).hex(), _ROWS),
        ),
        "chip_id": pa.array([f"{number:012}{chip:012}" for chip in range(_ROWS)]),
        "position": pa.array(np.arange(_ROWS, dtype=np.int32)),
        "is_last": pa.array(np.arange(_ROWS) == _ROWS - 1),
    }
    constant = {
        "outcome": CHIP,
        "uri": f"s3://bucket/{number}.tif",
        "etag": str(number),
        "collection": "c",
        "valid_fraction": 1.0,
        "cut": "{}",
        "bytes_read": 0,
        "pixels_opened": 0,
        "pixels_covered": 0,
    }
    columns = {
        field.name: values.get(field.name, pa.repeat(pa.scalar(constant.get(field.name), field.type), _ROWS))
        for field in ROW_SCHEMA
    }
    columns |= {name: pa.repeat(0.0, _ROWS) for name in _COLUMNS}
    return pa.table(columns | {"code": pa.repeat(pa.scalar(b"12345678", pa.binary()), _ROWS)})


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
