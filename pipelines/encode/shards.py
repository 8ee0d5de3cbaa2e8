"""Codes of one unit to Parquet shards: sorted along a space-filling curve, GeoParquet 1.1 metadata."""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.encode.chips import CHIP, FAILED
from pipelines.encode.sorting import ROWS_PER_PIECE, spatially_sorted
from pipelines.encode.usage import Usage
from pipelines.schema import FILE_SCHEMA, REJECT_SCHEMA
from pipelines.storage import Store
from pipelines.table import Shard

ROWS_PER_SHARD = 1_000_000
BYTES_PER_SHARD = 256 << 20  # of the file, which is made in memory
ROWS_PER_GROUP = ROWS_PER_PIECE  # the grain at which box queries skip what lies elsewhere

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

_SORTED_SCHEMA = pa.schema([field for field in FILE_SCHEMA if field.name not in ("run_id", "encoded_at")])
_REJECT_COLUMNS = ["uri", "etag", "outcome", "detail", "cut"]
_NO_REJECTS = pa.table({name: pa.array([], pa.string()) for name in _REJECT_COLUMNS})


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


def write_unit(
    table_uri: str, store: Store, lineage: Lineage, *blocks: pa.Table | Callable[[], pa.Table]
) -> UnitResult:
    """Write the chips of a unit as shards that no commit names yet; set rejects and failures apart.

    A block is a table, or a function that fetches it, called when its turn comes: so the memory that this
    takes doesn't grow with the unit, but for some 32 bytes a chip (`pipelines.encode.sorting`). Rejects and
    failures are held as a whole: at most one for each object.
    """
    others = _Others()
    with TemporaryDirectory(prefix="scenehash-unit-") as folder:
        pieces = spatially_sorted(others.chips_of(blocks), _SORTED_SCHEMA, Path(folder))
        # a large scene may break off after some of its chips have come
        whole = (piece.filter(pc.invert(pc.is_in(piece["uri"], others.broken()))) for piece in pieces)
        shards = write_shards(
            table_uri, store, lineage.model_id, (_code_rows(piece, lineage) for piece in whole)
        )
    return UnitResult(
        shards=shards,
        rejects=_reject_rows(others.rejects(), lineage),
        failed=[uri for rows in others.failed for uri in rows["uri"].to_pylist()],
        usage=others.usage,
    )


class _Others:
    """What of a unit's rows is no chip, gathered while the chips go by."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.failed: list[pa.Table] = []
        self._rejects: list[pa.Table] = []

    def chips_of(self, blocks: Iterable[pa.Table | Callable[[], pa.Table]]) -> Iterator[pa.Table]:
        """Yield the chips of each block, and keep the other rows."""
        for block in blocks:
            rows = block if isinstance(block, pa.Table) else block()
            is_chip, is_failed = pc.equal(rows["outcome"], CHIP), pc.equal(rows["outcome"], FAILED)
            self.usage += Usage.of(rows)
            self.failed.append(rows.filter(is_failed).select(_REJECT_COLUMNS).combine_chunks())
            is_reject = pc.invert(pc.or_(is_chip, is_failed))
            self._rejects.append(rows.filter(is_reject).select(_REJECT_COLUMNS).combine_chunks())
            yield rows.filter(is_chip).select(_SORTED_SCHEMA.names)

    def broken(self) -> pa.Array:
        """Return the objects (uri) that gave no chips in the end."""
        uris = [chunk for rows in (*self.failed, *self._rejects) for chunk in rows["uri"].chunks]
        return pa.concat_arrays([pa.array([], pa.string()), *uris])

    def rejects(self) -> pa.Table:
        """Return the rows of rejected objects."""
        return pa.concat_tables(self._rejects) if self._rejects else _NO_REJECTS


def _code_rows(chips: pa.Table, lineage: Lineage) -> pa.Table:
    """Return chips with their lineage, as a shard's rows."""
    constant = {"run_id": lineage.run_id, "encoded_at": datetime.now(UTC)}
    columns = [
        pa.repeat(pa.scalar(constant[field.name], field.type), len(chips))
        if field.name in constant
        else chips[field.name]
        for field in FILE_SCHEMA
    ]
    return pa.table(columns, schema=FILE_SCHEMA)


def _reject_rows(rejects: pa.Table, lineage: Lineage) -> pa.Table:
    columns = {name: rejects[name] for name in ("uri", "etag", "detail", "cut")} | {
        "reason": rejects["outcome"]
    }
    constant = {"model_id": lineage.model_id, "run_id": lineage.run_id, "at": datetime.now(UTC)}
    for name, value in constant.items():
        columns[name] = pa.array([value] * len(rejects), REJECT_SCHEMA.field(name).type)
    return pa.table([columns[name] for name in REJECT_SCHEMA.names], schema=REJECT_SCHEMA)


class ShardWriter:
    """A shard that is being written. Nothing of it is in the store before `close`."""

    def __init__(self, table_uri: str, store: Store, model_id: str) -> None:
        """Begin a shard of a model in a table's folder."""
        self._table_uri, self._store, self._model_id = table_uri, store, model_id
        self._buffer = io.BytesIO()
        schema = FILE_SCHEMA.with_metadata({"geo": json.dumps(GEO_METADATA)})
        self._writer = pq.ParquetWriter(self._buffer, schema, compression="zstd")
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        """Add rows of `FILE_SCHEMA`, in their order."""
        self._writer.write_table(rows.cast(self._writer.schema), row_group_size=ROWS_PER_GROUP)
        self.rows += len(rows)

    @property
    def is_full(self) -> bool:
        """Whether the shard has as many rows, or bytes, as one should have."""
        return self.rows >= ROWS_PER_SHARD or self._buffer.tell() >= BYTES_PER_SHARD

    def close(self) -> Shard:
        """Write the file into the table's folder. Raises StorageError."""
        self._writer.close()
        # a fresh name each time: a file of an attempt that never committed is never read
        path = f"model_id={self._model_id}/{uuid4().hex}.parquet"
        self._store.write(f"{self._table_uri}/{path}", self._buffer.getvalue())
        return Shard(path=path, size=self._buffer.tell(), rows=self.rows)


def write_shard(table_uri: str, store: Store, model_id: str, rows: pa.Table) -> Shard:
    """Write rows, in their order, as one shard of `FILE_SCHEMA` that no commit names yet."""
    writer = ShardWriter(table_uri, store, model_id)
    writer.add(rows)
    return writer.close()


def write_shards(table_uri: str, store: Store, model_id: str, pieces: Iterable[pa.Table]) -> list[Shard]:
    """Write rows that come in pieces, in their order, as shards that no commit names yet.

    One piece and one shard are in memory at a time. A shard that isn't full is the last one.
    """
    shards: list[Shard] = []
    writer: ShardWriter | None = None
    for piece in pieces:
        rest = piece
        while len(rest):
            writer = writer or ShardWriter(table_uri, store, model_id)
            part = rest.slice(0, ROWS_PER_SHARD - writer.rows)
            rest = rest.slice(len(part))
            writer.add(part)
            if writer.is_full:
                shards.append(writer.close())
                writer = None
    return [*shards, writer.close()] if writer else shards
