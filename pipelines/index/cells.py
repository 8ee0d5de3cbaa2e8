"""Single cells of Arrow arrays as Python values, several times faster than through Arrow's scalars.

Source: Arrow Columnar Format, "Physical Memory Layout" (https://arrow.apache.org/docs/format/Columnar.html).
"""

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, Literal

import pyarrow as pa

Cell = Callable[[int], Any]
"""From a place in an array to its value, None where it is null; a struct's value is a tuple."""

_TEXTS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
_NUMBERS = (pa.int32(), pa.float64())


def cells(array: pa.Array) -> Cell:
    """Return a function that reads an array's cells: the same as `array[place].as_py()`."""
    if array.offset:
        array = pa.concat_arrays([array])  # a copy that begins with its first cell
    read = _present(array)
    if not array.null_count:
        return read
    valid = memoryview(array.buffers()[0]).cast("B")
    return lambda place: read(place) if valid[place >> 3] >> (place & 7) & 1 else None


def values(array: pa.Array) -> list[Any]:
    """Return all cells of an array, as `cells` reads them: several times as fast for texts and windows."""
    kind = array.type
    if kind in _TEXTS:
        texts: list[Any] = array.to_numpy(zero_copy_only=False).tolist()
        return texts
    if pa.types.is_struct(kind):
        members = [array.field(number) for number in range(kind.num_fields)]
        if all(member.type in _NUMBERS and not member.null_count for member in members):
            rows = zip(*(member.to_numpy().tolist() for member in members), strict=True)
            return [row if valid else None for row, valid in zip(rows, _valid(array), strict=True)]
    read = cells(array)
    return [read(place) for place in range(len(array))]


def _valid(array: pa.Array) -> Iterable[bool]:
    return (
        array.is_valid().to_numpy(zero_copy_only=False).tolist()
        if array.null_count
        else repeat(True, len(array))
    )


def _present(array: pa.Array) -> Cell:
    kind = array.type
    if pa.types.is_struct(kind):
        members = [cells(array.field(number)) for number in range(kind.num_fields)]
        return lambda place: tuple([read(place) for read in members])
    if kind in _TEXTS:
        return _text(array)
    if kind in _NUMBERS:
        return _numbers(array, "i" if kind == pa.int32() else "d").__getitem__
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
