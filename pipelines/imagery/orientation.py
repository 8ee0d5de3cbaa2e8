"""Orientation of a photo: cameras store the rows of the sensor, and a tag tells viewers how to turn them.

Source: Exif 2.32 (CIPA DC-008), 4.6.4 A; TIFF 6.0, section 8; PNG, third edition, 11.3.2.7 (eXIf).
"Stored" is the raster in the file, "upright" is the one that viewers show.

Shapes: the last two axes of an array are the rows and columns of a raster.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.imagery.window import WindowTuple

Value = TypeVar("Value", bound=np.generic)

_TAG, _SHORT = 274, 3  # Orientation, and the type that its value has
_MOST_ENTRIES = 4096  # of a directory that are looked at
_PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Orientation:
    """How a stored raster becomes an upright one: rows and columns are exchanged first, then mirrored."""

    exchanged: bool = False
    rows_mirrored: bool = False
    columns_mirrored: bool = False

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the upright (width, height) of a stored raster, or the stored one of an upright raster."""
        return (height, width) if self.exchanged else (width, height)

    def stored_window(self, window: WindowTuple, width: int, height: int) -> WindowTuple:
        """Return the stored window of a window in the upright raster of ``width`` x ``height`` pixels."""
        x, y, w, h = window
        x = width - x - w if self.columns_mirrored else x
        y = height - y - h if self.rows_mirrored else y
        return (y, x, h, w) if self.exchanged else (x, y, w, h)

    def upright(self, stored: NDArray[Value]) -> NDArray[Value]:
        """Return a stored array (..., H, W) turned upright, as a view of the same memory."""
        turned = stored.swapaxes(-2, -1) if self.exchanged else stored
        turned = turned[..., ::-1, :] if self.rows_mirrored else turned
        return turned[..., ::-1] if self.columns_mirrored else turned


AS_STORED = Orientation()

_BY_NUMBER = {
    1: AS_STORED,
    2: Orientation(columns_mirrored=True),
    3: Orientation(rows_mirrored=True, columns_mirrored=True),
    4: Orientation(rows_mirrored=True),
    5: Orientation(exchanged=True),
    6: Orientation(exchanged=True, columns_mirrored=True),
    7: Orientation(exchanged=True, rows_mirrored=True, columns_mirrored=True),
    8: Orientation(exchanged=True, rows_mirrored=True),
}


def orientation_by_number(number: int | str | None) -> Orientation:
    """Return the orientation for a tag's value, 1 to 8; any other value means: as stored."""
    text = str(number).strip()
    return _BY_NUMBER.get(int(text), AS_STORED) if text.isdecimal() and len(text) == 1 else AS_STORED


def tiff_orientation(content: bytes) -> Orientation:
    """Return the orientation in the first directory of a TIFF, or of an Exif block, which is alike."""
    return read_orientation(lambda start, stop: content[start:stop])


def read_orientation(read: Callable[[int, int], bytes]) -> Orientation:
    """Return what `tiff_orientation` returns; ``read`` gives the bytes from one place to another."""
    order = {b"II": "<", b"MM": ">"}.get(read(0, 2))
    if order is None:
        return AS_STORED

    def number(form: str, start: int) -> int:
        (value,) = struct.unpack(f"{order}{form}", read(start, start + struct.calcsize(f"{order}{form}")))
        return int(value)

    try:
        if number("H", 2) == 42:
            at, count_form, entry_size, value_at = number("I", 4), "H", 12, 8
        else:
            at, count_form, entry_size, value_at = number("Q", 8), "Q", 20, 12
        start = at + struct.calcsize(f"{order}{count_form}")
        entries = read(start, start + min(number(count_form, at), _MOST_ENTRIES) * entry_size)
        for entry in range(0, len(entries), entry_size):
            tag, kind = struct.unpack_from(f"{order}HH", entries, entry)
            if tag == _TAG and kind == _SHORT:
                return orientation_by_number(struct.unpack_from(f"{order}H", entries, entry + value_at)[0])
            if tag > _TAG:
                break  # entries are sorted
    except struct.error:  # a broken file: if that matters, GDAL will say so
        pass
    return AS_STORED


def png_orientation(content: bytes) -> Orientation:
    """Return the orientation in the Exif block of a PNG; as stored if it has none."""
    for kind, start, length in _png_chunks(content):
        if kind == b"eXIf":
            return tiff_orientation(content[start : start + length])
    return AS_STORED


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield for each chunk its type, and the start and length of its data [bytes]."""
    at = len(_PNG_START)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        yield kind, at + 8, length
        at += length + 12
