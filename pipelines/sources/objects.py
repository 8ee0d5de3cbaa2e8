"""Tables of objects, one row for each: every source yields them; what a source doesn't know is null."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ConfigError
from pipelines.storage.listings import ObjectInfo

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

_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999, in seconds since 1970
_IN_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400  # seconds
_HINT = (
    "write it as ISO 8601, such as 2026-11-20T10:00:00Z, or in Parquet as a timestamp: a number may count "
    "days, seconds or milliseconds"
)

Column: TypeAlias = pa.Array | pa.ChunkedArray


def object_table(columns: dict[str, Column]) -> pa.Table:
    """Return rows of `OBJECT_SCHEMA`; columns that aren't given are null."""
    rows = len(columns["uri"])
    full = [columns.get(field.name, pa.nulls(rows, field.type)) for field in OBJECT_SCHEMA]
    return pa.table(full, schema=OBJECT_SCHEMA)


def listed_table(infos: Sequence[ObjectInfo]) -> pa.Table:
    """Return the entries of a store's listing as rows."""
    return object_table(
        {
            "uri": pa.array([info.uri for info in infos], pa.string()),
            "etag": pa.array([info.etag for info in infos], pa.string()),
            "modified": pa.array([info.modified for info in infos], TIME),
        }
    )


def times(column: Column, what: str) -> Column:
    """Return a column of ISO 8601 texts, dates or timestamps as timestamps; without a zone they are UTC.

    A text that isn't a time, and a time outside of the years 1 to 9999, become null. Raises ConfigError,
    which names ``what``, if the column's type can't hold times.
    """
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_null(column.type):
        return pc.cast(column, TIME)
    if _is_text(column.type):
        return _times_of_texts(pc.cast(column, pa.string()))
    if pa.types.is_timestamp(column.type):
        unit = _IN_A_SECOND[column.type.unit]
        first, last = _FIRST * unit, _LAST * unit + unit - 1
    elif pa.types.is_date32(column.type):
        first, last = _FIRST // _DAY, _LAST // _DAY
    elif pa.types.is_date64(column.type):
        first, last = _FIRST * 1000, _LAST * 1000
    else:
        raise ConfigError(f"{what} must be a time, not {column.type}: {_HINT}")
    numbers = pc.cast(pc.cast(column, _number_type(column.type)), pa.int64())
    is_late = pc.greater_equal(
        numbers, max(first, -(2**63))
    )  # nanoseconds of 64 bits never leave these years
    is_right = pc.and_(is_late, pc.less_equal(numbers, min(last, 2**63 - 1)))
    column = pc.if_else(is_right, column, pa.scalar(None, column.type))
    if pa.types.is_timestamp(column.type) and column.type.tz:
        return pc.cast(column, TIME, safe=False)  # nanoseconds are dropped
    return pc.assume_timezone(pc.cast(column, pa.timestamp("us"), safe=False), "UTC")


def time_of(value: object) -> datetime:
    """Return the time that an ISO 8601 text means; without a zone it is UTC. Raises ValueError for others."""
    problem = f"not a time: {value!r:.100}; write it as 2026-11-20T10:00:00Z"
    # digits alone may be a number of seconds, though Python reads some such texts as a date and an hour
    if not isinstance(value, str) or (value.isdigit() and len(value) != len("20261120")):
        raise ValueError(problem)
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(problem) from error


def plain_etags(column: Column) -> Column:
    """Return etags as listings write them: no quotes, no ``W/``, hashes in lower case; null if empty."""
    etags = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    etags = pc.utf8_trim(pc.replace_substring_regex(etags, "^W/", ""), '"')
    is_hash = pc.match_substring_regex(etags, "^[0-9A-Fa-f]{32}(-[0-9]+)?$")
    etags = pc.if_else(is_hash, pc.utf8_lower(etags), etags)
    return pc.if_else(pc.equal(etags, ""), pa.scalar(None, pa.string()), etags)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _number_type(kind: pa.DataType) -> pa.DataType:
    return pa.int32() if pa.types.is_date32(kind) else pa.int64()


def _times_of_texts(column: Column) -> Column:
    try:
        found = pc.cast(column, TIME)  # fast, but each text must name its zone
    except pa.ArrowInvalid:
        return pa.array([_time_or_none(text) for text in column.to_pylist()], TIME)
    return times(found, "")  # near the years 1 and 9999, UTC may be in another year


def _time_or_none(text: str | None) -> datetime | None:
    try:
        return None if text is None else time_of(text)
    except ValueError:
        return None
