"""Night after night over real rasters, submitted to a cluster; the published table read with plain SQL."""

import csv
import io
import json
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from model.bundle import pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.registry.bundles import write_bundle
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import read_pointer
from pipelines.table.schema import CODE_SCHEMA

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
RECIPES = (REPOSITORY / "docs/guide/query.md").read_text().split("```sql\n")[1:]
RASTERS = sorted(DATA.glob("geotiff/naip/*.tif")) + sorted(DATA.glob("geotiff/landsat/*.tif"))

pytestmark = pytest.mark.skipif(len(RASTERS) != 14, reason=f"SKIPPED: no NAIP and Landsat rasters in {DATA}")


@pytest.fixture(scope="module")
def archive(store):
    """The rasters in the bucket, and a bundle: SqueezeNet of ImageNet behind random kind and look bits."""
    root = "s3://archive/real-nights"
    for path in RASTERS:
        store.write(f"{root}/{path.parent.name}/{path.name}", path.read_bytes())
    torch.manual_seed(0)
    network = HashNetwork(
        NetworkSpec(backbone="squeezenet1_1", node="features.6", head="linear", look_bits=192),
        InputSpec(size=64),
        load_file(DATA / "weights/squeezenet1_1.fp16.safetensors"),
    ).eval()
    manifest, files = pack_bundle(network, "real", ("a", "b"), "run", {})
    write_bundle(f"{root}/bundle", files, store)
    return root, manifest.model_id


def write_manifest(store, root, rasters):
    """List rasters with their dates, which only their names tell, as a team would."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["uri", "datetime", "collection"])
    for path in rasters:
        day = path.stem[-8:] if path.parent.name == "naip" else f"{path.stem}0701"
        date = f"{day[:4]}-{day[4:6]}-{day[6:]}T12:00:00Z"
        rows.writerow([f"{path.parent.name}/{path.name}", date, path.parent.name])
    store.write(f"{root}/list.csv", text.getvalue().encode())


@pytest.mark.timeout(600)
def test_nights_over_a_growing_archive_and_sql_over_what_they_publish(submit, store, archive):
    root, model_id = archive
    nights = [("2026-11-18", RASTERS[:3] + RASTERS[6:9]), ("2026-11-19", RASTERS), ("2026-11-20", RASTERS)]
    reports = []
    for day, rasters in nights:
        write_manifest(store, root, rasters)
        done = submit(
            f"nightly-{day}",
            "nightly",
            source=f"{root}/list.csv",
            table=f"{root}/codes",
            bundle=f"{root}/bundle",
            chip_size=64,
            **{"store.endpoint": store.config.endpoint},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        reports.append(
            json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"run_id')))
        )
    again = submit("nightly-2026-11-20", "nightly", source=root, table=root, bundle=root)
    assert again.returncode != 0
    assert "already exists" in again.stdout + again.stderr
    assert [(report["objects"], report["new"]) for report in reports] == [(6, 6), (14, 8), (14, 0)]
    assert [report["failed"] or report["rejects"] for report in reports] == [{}, {}, {}]

    pointer = read_pointer(f"{root}/codes", store)
    assert pointer.table_version == reports[2]["table_version"] == reports[1]["table_version"]
    table = CodeTable(f"{root}/codes", store)
    assert len(table.read(model_id, ["uri"], reports[0]["table_version"])) == reports[0]["chips"]
    rows = table.read(model_id, CODE_SCHEMA.names, pointer.table_version)
    assert len(rows) == reports[0]["chips"] + reports[1]["chips"]
    check_nearest(rows)
    check_changes(rows)


def words(rows):
    """The codes as words_NW: one of kind, three of look."""
    return np.frombuffer(b"".join(rows["code"].to_pylist()), np.uint64).reshape(-1, 4)


def check_nearest(rows):
    """DuckDB and Polars find the neighbours that numpy does."""
    example = rows["chip_id"][5].as_py()
    differing_NW = np.bitwise_count(words(rows) ^ words(rows)[5]).astype(int)
    distances = differing_NW @ np.array([2, 1, 1, 1])
    oracle = sorted(zip(distances.tolist(), rows["chip_id"].to_pylist(), strict=True))[:10]
    with duckdb.connect() as sql:
        sql.register("codes", rows)
        found = sql.execute(recipe(0).replace("'...'", f"'{example}'")).fetchall()
    assert [(distance, chip_id) for chip_id, _, _, distance in found] == oracle
    frame = pl.from_arrow(rows.select(["chip_id", "code"]))
    frame = frame.with_columns(
        pl.col("code").bin.slice(8 * word, 8).bin.reinterpret(dtype=pl.UInt64).alias(f"word_{word}")
        for word in range(4)
    )
    example_row = frame.row(by_predicate=pl.col("chip_id") == example, named=True)
    differing = [
        (pl.col(f"word_{word}") ^ example_row[f"word_{word}"]).bitwise_count_ones() for word in range(4)
    ]
    distance = 2 * differing[0] + sum(differing[1:])
    nearest = frame.select("chip_id", distance=distance).sort("distance", "chip_id")
    assert [(distance, chip_id) for chip_id, distance in nearest.head(10).rows()] == oracle


def check_changes(rows):
    """The chips that changed most between two pictures of one place, as plain Python finds them."""
    with duckdb.connect() as sql:
        sql.register("codes", rows)
        found = sql.execute(recipe(1)).fetchall()
    chips = rows.select(["chip_id", "collection", "datetime", "bbox"]).to_pylist()
    look_NW = words(rows)[:, 1:]
    pairs = [
        (-int(np.bitwise_count(look_NW[one] ^ look_NW[two]).sum()), before["chip_id"], after["chip_id"])
        for one, before in enumerate(chips)
        for two, after in enumerate(chips)
        if before["collection"] == after["collection"]
        and before["datetime"] < after["datetime"]
        and all(
            abs(before["bbox"][f"{axis}min"] - after["bbox"][f"{axis}min"])
            < (before["bbox"][f"{axis}max"] - before["bbox"][f"{axis}min"]) / 4
            for axis in "xy"
        )
    ]
    assert [(-changed, before, after) for before, after, changed in found] == sorted(pairs)[:10]


def recipe(number):
    return RECIPES[number].split("```")[0]
