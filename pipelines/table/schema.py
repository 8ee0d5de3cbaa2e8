"""The columns of the code table and of the rejects table. docs/formats/code-table.md specifies them."""

import pyarrow as pa

_INT32, _DOUBLE = pa.int32(), pa.float64()

CODE_SCHEMA = pa.schema(
    [
        pa.field("chip_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("window", pa.struct([(name, _INT32) for name in ("x", "y", "w", "h")]), nullable=False),
        pa.field("bbox", pa.struct([(name, _DOUBLE) for name in ("xmin", "ymin", "xmax", "ymax")])),
        pa.field("geometry", pa.binary()),
        pa.field("datetime", pa.timestamp("us", tz="UTC")),
        pa.field("collection", pa.string(), nullable=False),
        pa.field("properties", pa.map_(pa.string(), pa.string())),
        pa.field("valid_fraction", pa.float32(), nullable=False),
        pa.field("cut", pa.string(), nullable=False),
        pa.field("code", pa.binary(), nullable=False),
        pa.field("model_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("encoded_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""One row for each chip. Format version 1."""

FILE_SCHEMA = pa.schema([field for field in CODE_SCHEMA if field.name != "model_id"])
"""The columns of a shard: Delta keeps the partition column in its log, not in the files."""

REJECT_SCHEMA = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False)
        for name in ("uri", "etag", "model_id", "reason", "detail", "cut", "run_id")
    ]
    + [pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False)]
)
"""One row for each object that can't be encoded."""
