"""Codes of one unit to Parquet shards: sorted along a space-filling curve, GeoParquet 1.1 metadata."""

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.encode.chips import CHIP, FAILED
from pipelines.encode.usage import Usage
from pipelines.footprints import hilbert_key
from pipelines.schema import FILE_SCHEMA, REJECT_SCHEMA
from pipelines.storage import Store
from pipelines.table import Shard

ROWS_PER_SHARD = 1_000_000
ROWS_PER_GROUP = 50_000  # the grain at which box queries skip what lies elsewhere

GEO_METADATA = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["Polygon", "MultiPolygon"],
            "covering": {"bbox": {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}},
        }
    },
}
"""The Parquet file's ``geo`` key (GeoParquet 1.1.0); without a crs it is OGC:CRS84."""


@dataclass(frozen=True)
class Lineage:
    """Who made the rows of a unit."""

    model_id: str
    run_id: str


@dataclass(frozen=True)
class UnitResult:
    """What became of a unit's objects."""

    shards: list[Shard]
    rejects: pa.Table
    failed: list[str]
    """URIs that couldn't be read this time."""
    usage: Usage


def write_unit(table_uri: str, store: Store, lineage: Lineage, *blocks: pa.Table) -> UnitResult:
    """Write the chips of a unit as shards that no commit names yet; set rejects and failures apart."""
    rows = pa.concat_tables(blocks)
    is_chip, is_failed = pc.equal(rows["outcome"], CHIP), pc.equal(rows["outcome"], FAILED)
    # a large scene may break off after some of its chips have come
    is_broken = pc.is_in(rows["uri"], rows["uri"].filter(pc.invert(is_chip)).combine_chunks())
    chips = _code_rows(rows.filter(pc.and_not(is_chip, is_broken)), lineage)
    starts = range(0, len(chips), ROWS_PER_SHARD)
    return UnitResult(
        shards=[
            write_shard(table_uri, store, lineage.model_id, chips.slice(at, ROWS_PER_SHARD)) for at in starts
        ],
        rejects=_reject_rows(rows.filter(pc.invert(pc.or_(is_chip, is_failed))), lineage),
        failed=rows["uri"].filter(is_failed).to_pylist(),
        usage=Usage.of(rows),
    )


def _code_rows(chips: pa.Table, lineage: Lineage) -> pa.Table:
    chips = chips.take(np.argsort(spatial_key(chips["bbox"]), kind="stable"))
    constant = {"run_id": lineage.run_id, "encoded_at": datetime.now(UTC)}
    columns = [
        pa.array([constant[field.name]] * len(chips), field.type)
        if field.name in constant
        else chips[field.name]
        for field in FILE_SCHEMA
    ]
    return pa.table(columns, schema=FILE_SCHEMA)


def spatial_key(bbox: pa.ChunkedArray) -> np.ndarray:
    """Return where each bbox lies on the Hilbert curve; those without a place come last."""
    corner = pc.struct_field(bbox, "xmin"), pc.struct_field(bbox, "ymin")
    longitude_N, latitude_N = (np.asarray(pc.fill_null(side, np.nan), np.float64) for side in corner)
    return hilbert_key(longitude_N, latitude_N)


def _reject_rows(rejects: pa.Table, lineage: Lineage) -> pa.Table:
    columns = {name: rejects[name] for name in ("uri", "etag", "detail", "cut")} | {
        "reason": rejects["outcome"]
    }
    constant = {"model_id": lineage.model_id, "run_id": lineage.run_id, "at": datetime.now(UTC)}
    for name, value in constant.items():
        columns[name] = pa.array([value] * len(rejects), REJECT_SCHEMA.field(name).type)
    return pa.table([columns[name] for name in REJECT_SCHEMA.names], schema=REJECT_SCHEMA)


def write_shard(table_uri: str, store: Store, model_id: str, rows: pa.Table) -> Shard:
    """Write rows, in their order, as a shard of `FILE_SCHEMA` that no commit names yet."""
    buffer = io.BytesIO()
    rows = rows.replace_schema_metadata({"geo": json.dumps(GEO_METADATA)})
    pq.write_table(rows, buffer, compression="zstd", row_group_size=ROWS_PER_GROUP)
    # a fresh name each time: a file of an attempt that never committed is never read
    path = f"model_id={model_id}/{uuid4().hex}.parquet"
    store.write(f"{table_uri}/{path}", buffer.getvalue())
    return Shard(path=path, size=buffer.tell(), rows=len(rows))
