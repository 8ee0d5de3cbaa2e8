"""Single cells of Arrow arrays as Python values, several times faster than through Arrow's scalars.

Source: Arrow Columnar Format, "Physical Memory Layout" (https://arrow.apache.org/docs/format/Columnar.html).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pyarrow as pa

Cell = Callable[[int], Any]
"""From a place in an array to its value, None where it is null."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cells(array: pa.Array) -> Cell:
    """Return a function that reads an array's cells: the same as `array[place].as_py()`, times in UTC."""
    if array.offset:
        return lambda place: array[place].as_py()
    read = _present(array)
    if not array.null_count:
        return read
    valid = memoryview(array.buffers()[0]).cast("B")
    return lambda place: read(place) if valid[place >> 3] >> (place & 7) & 1 else None


def _present(array: pa.Array) -> Cell:
    kind = array.type
    if pa.types.is_struct(kind):
        members = [(field.name, cells(array.field(number))) for number, field in enumerate(kind)]
        return lambda place: {name: read(place) for name, read in members}
    if kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        return _text(array)
    if kind in (pa.int32(), pa.float64()):
        return _numbers(array, "i" if kind == pa.int32() else "d").__getitem__
    if pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz is not None:
        ticks = _numbers(array, "q")
        return lambda place: _EPOCH + timedelta(microseconds=ticks[place])
    return lambda place: array[place].as_py()


def _text(array: pa.Array) -> Cell:
    kind = array.type
    starts = _numbers(array, "i" if kind in (pa.string(), pa.binary()) else "q")
    content = memoryview(array.buffers()[2] or b"")
    if kind in (pa.binary(), pa.large_binary()):
        return lambda place: bytes(content[starts[place] : starts[place + 1]])
    return lambda place: str(content[starts[place] : starts[place + 1]], "utf-8")


def _numbers(array: pa.Array, kind: Literal["i", "q", "d"]) -> "memoryview[Any]":
    """Return an array's second buffer: its numbers, or where its texts start."""
    return memoryview(array.buffers()[1]).cast("B").cast(kind)
