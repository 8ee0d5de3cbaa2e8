"""Writes shards, the Parquet files of a code table, with the metadata of GeoParquet 1.1."""

import io
import json
from collections.abc import Iterable
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.storage.store import Store
from pipelines.table.code_table import Shard
from pipelines.table.schema import FILE_SCHEMA
from pipelines.table.sorting import ROWS_PER_PIECE

ROWS_PER_SHARD = 1_000_000
BYTES_PER_SHARD = 256 << 20  # size of the file, which is built in memory
ROWS_PER_GROUP = ROWS_PER_PIECE  # a query for a box skips the groups that lie elsewhere

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


class ShardWriter:
    """A shard that is being built in memory; `close` writes it to the store."""

    def __init__(self, table_uri: str, store: Store, model_id: str) -> None:
        """Begin a shard of a model in a table's folder."""
        self._table_uri, self._store, self._model_id = table_uri, store, model_id
        self._buffer = io.BytesIO()
        schema = FILE_SCHEMA.with_metadata({"geo": json.dumps(GEO_METADATA)})
        self._writer = pq.ParquetWriter(self._buffer, schema, compression="zstd")
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        """Append rows of `FILE_SCHEMA`."""
        self._writer.write_table(rows.cast(self._writer.schema), row_group_size=ROWS_PER_GROUP)
        self.rows += len(rows)

    @property
    def is_full(self) -> bool:
        """Whether the shard has reached its number of rows or bytes."""
        return self.rows >= ROWS_PER_SHARD or self._buffer.tell() >= BYTES_PER_SHARD

    def close(self) -> Shard:
        """Write the file into the table's folder. Raises StorageError."""
        self._writer.close()
        # a new name each time: the file of an attempt that never commits is never read
        path = f"model_id={self._model_id}/{uuid4().hex}.parquet"
        self._store.write(f"{self._table_uri}/{path}", self._buffer.getvalue())
        return Shard(path=path, size=self._buffer.tell(), rows=self.rows)


def write_shard(table_uri: str, store: Store, model_id: str, rows: pa.Table) -> Shard:
    """Write rows of `FILE_SCHEMA`, in their order, as one shard; the caller commits it."""
    writer = ShardWriter(table_uri, store, model_id)
    writer.add(rows)
    return writer.close()


def write_shards(table_uri: str, store: Store, model_id: str, pieces: Iterable[pa.Table]) -> list[Shard]:
    """Write pieces of rows of `FILE_SCHEMA`, in their order, as shards; the caller commits them.

    One piece and one shard are in memory at a time. All shards but the last are full.
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
