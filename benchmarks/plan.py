"""How fast a night knows what to do: `python -m benchmarks.plan`; 10 M objects, 10 M done ones, 1 % new.

Timed is all that a night does before it encodes: the manifest is read, the table's files are read for what
is done, both are compared, and the units are drawn. Half of the new objects are additions, half are changed.
"""

import argparse
import json
import multiprocessing
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from model.spec import InputSpec
from pipelines.config import StoreConfig
from pipelines.encode.config import EncodeConfig
from pipelines.encode.parcels import units_of
from pipelines.encode.plan import Done, Rules, make_plan
from pipelines.encode.versions import read_encoded, read_rejected
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.sources.listing import list_source
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.schema import FILE_SCHEMA, REJECT_SCHEMA
from pipelines.table.shard_files import write_shard

MODEL = "bench@0123456789ab"
_OBJECTS_PER_FILE, _CHIPS = 2000, 4
_FILES_PER_COMMIT = 50
_CUT = ChipSpec(
    Grid(256, edges="shift", min_valid_fraction=0.5), PixelSpec((1, 2, 3))
).text()  # of a default config
_NOW = datetime(2026, 11, 22, tzinfo=UTC)

# of a thousand objects: not encoded yet, encoded from an older version, rejected
_ADDED, _CHANGED, _REJECTED = range(5), range(5, 10), range(10, 11)


def names(numbers: np.ndarray) -> pa.Array:
    """Return the uris of objects."""
    return pa.array(
        [f"s3://archive/imagery/{n // 2000:05}/scene_{n:010}_visual.tif" for n in numbers.tolist()]
    )


def etags(numbers: np.ndarray, version: int) -> pa.Array:
    """Return 32 hex digits for each object, others for each version of it."""
    mixed = (numbers.astype(np.uint64) + np.uint64(version)) * np.uint64(0x9E3779B97F4A7C15)
    return pa.array([f"{n:016x}{n ^ 0xFFFFFFFF:016x}" for n in mixed.tolist()])


def build(folder: Path, objects: int) -> None:
    """Write the manifest, and the tables as many nights would have left them."""
    with pq.ParquetWriter(
        folder / "manifest.parquet", pa.schema([("uri", pa.string()), ("etag", pa.string())])
    ) as writer:
        for start in range(0, objects, 500_000):
            numbers = np.arange(start, min(start + 500_000, objects))
            writer.write_table(pa.table({"uri": names(numbers), "etag": etags(numbers, 1)}))
    store = Store(StoreConfig())
    table = CodeTable(str(folder / "codes"), store)
    table.create()
    every = np.arange(objects + objects // 200)  # the last have vanished from the archive
    encoded = every[~np.isin(every % 1000, [*_ADDED, *_REJECTED]) | (every >= objects)]
    rest = chip_columns(_OBJECTS_PER_FILE * _CHIPS)
    shards, commits = [], 0
    for start in range(0, len(encoded), _OBJECTS_PER_FILE):
        shards.append(
            write_shard(table.uri, store, MODEL, rows(encoded[start : start + _OBJECTS_PER_FILE], rest))
        )
        if len(shards) == _FILES_PER_COMMIT or start + _OBJECTS_PER_FILE >= len(encoded):
            commits += 1
            table.commit_unit(shards, MODEL, commits, {})
            shards = []
    rejected = np.flatnonzero(np.isin(np.arange(objects) % 1000, _REJECTED))
    said = {"model_id": MODEL, "reason": "empty", "detail": "", "cut": _CUT, "run_id": "r", "at": _NOW}
    columns = {
        name: pa.array([value] * len(rejected), REJECT_SCHEMA.field(name).type)
        for name, value in said.items()
    }
    columns |= {"uri": names(rejected), "etag": etags(rejected, 1)}
    table.commit_rejects(pa.table([columns[name] for name in REJECT_SCHEMA.names], schema=REJECT_SCHEMA))


def chip_columns(count: int) -> pa.Table:
    """Return the columns of chips that planning doesn't look at."""
    row = {
        "chip_id": "0" * 24,
        "uri": "",
        "etag": "",
        "window": {"x": 0, "y": 0, "w": 256, "h": 256},
        "collection": "aerial",
        "valid_fraction": 1.0,
        "cut": _CUT,
        "code": b"12345678",
        "run_id": "r",
        "encoded_at": _NOW,
    }
    return pa.Table.from_pylist([row] * count, schema=FILE_SCHEMA)


def rows(numbers: np.ndarray, rest: pa.Table) -> pa.Table:
    """Return the chips of some objects, in the disorder that a spatial curve brings."""
    order = pa.array(np.random.default_rng(0).permutation(np.repeat(np.arange(len(numbers)), _CHIPS)))
    changed = np.isin(numbers % 1000, _CHANGED)
    versions = np.where(changed, 0, 1)
    columns = {
        "uri": names(numbers).take(order),
        "etag": pa.array(
            np.where(versions == 1, etags(numbers, 1).to_numpy(zero_copy_only=False), "older")
        ).take(order),
    }
    filled = rest.slice(0, len(order))
    for name, column in columns.items():
        filled = filled.set_column(FILE_SCHEMA.get_field_index(name), FILE_SCHEMA.field(name), column)
    return filled


def measure(folder: Path) -> dict[str, float]:
    """Plan once; return the figures."""
    config = EncodeConfig(source=str(folder / "manifest.parquet"), table=str(folder / "codes"), bundle="")
    store, chip_specs, laps = Store(config.store), chip_specs_of(config, InputSpec()), {}
    table = CodeTable(config.table, store)
    started = last = time.perf_counter(), time.process_time()

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter(), time.process_time()
        laps[name], last = [after - before for after, before in zip(now, last, strict=True)], now

    with TemporaryDirectory(dir=folder) as work:
        listing = list_source(config, store, Path(work))
        lap("list the source")
        done = Done(read_encoded(table, MODEL, Path(work)), read_rejected(table, MODEL, Path(work)))
        lap("read what is done")
        plan = make_plan(listing, chip_specs, done, [], Path(work), Rules())
        lap("compare")
        drawn = sum(len(unit) for unit in units_of(plan.new, config.objects_per_unit))
        lap("draw units")
    if drawn != plan.num_new or plan.num_new != plan.num_old * 2:
        raise AssertionError("the plan isn't what was built")
    for name, (seconds, busy) in laps.items():
        Console().print(f"{name:20}{seconds:8.1f} s, {busy:.1f} CPU seconds")
    return {
        "objects": listing.count,
        "new": plan.num_new,
        "seconds": round(time.perf_counter() - started[0], 1),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def main() -> None:
    """Build, measure, and print the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=10_000_000, help="in the archive; a multiple of 1000")
    parser.add_argument("--folder", type=Path, help="where the archive is built, and kept for the next time")
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "built").exists():
            folder.mkdir(parents=True, exist_ok=True)
            # in a process of its own: its memory isn't the plan's
            builder = multiprocessing.get_context("spawn").Process(
                target=build, args=(folder, arguments.objects)
            )
            builder.start()
            builder.join()
            if builder.exitcode:
                raise SystemExit(builder.exitcode)
            (folder / "built").touch()
        print(json.dumps({"plan": measure(folder)}))


if __name__ == "__main__":
    main()
