"""One row an object: what every source says of the archive, whatever it leaves open being null."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ConfigError
from pipelines.storage import ObjectInfo

TIME = pa.timestamp("us", tz="UTC")

OBJECT_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string()),  # changes whenever the content does
        pa.field("modified", TIME),
        pa.field("datetime", TIME),  # acquisition
        pa.field("collection", pa.string()),
        pa.field("properties", pa.map_(pa.string(), pa.string())),
    ]
)


def object_table(columns: dict[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """Return rows of `OBJECT_SCHEMA`; columns that aren't given are null."""
    rows = len(columns["uri"])
    full = [columns.get(field.name, pa.nulls(rows, field.type)) for field in OBJECT_SCHEMA]
    return pa.table(full, schema=OBJECT_SCHEMA)


def listed_table(infos: Sequence[ObjectInfo]) -> pa.Table:
    """Return the rows of a store's own listing."""
    return object_table(
        {
            "uri": pa.array([info.uri for info in infos], pa.string()),
            "etag": pa.array([info.etag for info in infos], pa.string()),
            "modified": pa.array([info.modified for info in infos], TIME),
        }
    )


def times(column: pa.ChunkedArray | pa.Array, what: str) -> pa.ChunkedArray | pa.Array:
    """Return a column of ISO 8601 strings, dates or timestamps as timestamps; without a zone they are UTC.

    Raises ConfigError, naming ``what``, where a value is no time.
    """
    if pa.types.is_large_string(column.type) or pa.types.is_dictionary(column.type):
        column = pc.cast(column, pa.string())
    if pa.types.is_string(column.type):
        try:
            return pc.cast(column, TIME)  # quick, but each must name its zone
        except pa.ArrowInvalid:
            values = [None if text is None else time_of(text, what) for text in column.to_pylist()]
            return pa.array(values, TIME)
    try:
        if pa.types.is_timestamp(column.type) and column.type.tz:
            return pc.cast(column, TIME, safe=False)  # nanoseconds are dropped
        return pc.assume_timezone(pc.cast(column, pa.timestamp("us"), safe=False), "UTC")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError(f"{what} must be a time, not {column.type}") from error


def time_of(text: str, what: str) -> datetime:
    """Return an ISO 8601 time; without a zone it is UTC. Raises ConfigError, naming ``what``."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{what} must be a time such as 2026-11-20T10:00:00Z, not {text!r}") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
