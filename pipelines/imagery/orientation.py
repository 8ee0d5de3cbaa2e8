"""Orientation of a photo: cameras store the sensor's rows and say in a tag how viewers must turn them.

Source: Exif 2.32 (CIPA DC-008), 4.6.4 A; TIFF 6.0, section 8; PNG, third edition, 11.3.2.7 (eXIf).
"Stored" is the raster as the file has it, "upright" as viewers show it. A window is (x, y, w, h) in pixels.

Shapes: the last two axes of an array are the rows and columns of a raster.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)
Window = tuple[int, int, int, int]

_TAG, _SHORT = 274, 3  # Orientation, and the type that its value has
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

    def stored_window(self, window: Window, width: int, height: int) -> Window:
        """Return where a window of the upright raster of ``width`` x ``height`` pixels is stored."""
        x, y, w, h = window
        x = width - x - w if self.columns_mirrored else x
        y = height - y - h if self.rows_mirrored else y
        return (y, x, h, w) if self.exchanged else (x, y, w, h)

    def upright(self, stored: NDArray[Value]) -> NDArray[Value]:
        """Return an array (..., H, W) of a stored raster as viewers show it; it shares the memory."""
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
    """Return the orientation that a tag's value means; a value that isn't defined means: as stored."""
    text = str(number).strip()
    return _BY_NUMBER.get(int(text), AS_STORED) if text.isdecimal() and len(text) == 1 else AS_STORED


def tiff_orientation(content: bytes) -> Orientation:
    """Return what the first directory of a TIFF says; also of an Exif block, which has the same form."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None:
        return AS_STORED
    try:
        version = struct.unpack_from(f"{order}H", content, 2)[0]
        if version == 42:
            at, count_form, entry_size, value_at = struct.unpack_from(f"{order}I", content, 4)[0], "H", 12, 8
        else:
            at, count_form, entry_size, value_at = struct.unpack_from(f"{order}Q", content, 8)[0], "Q", 20, 12
        (count,) = struct.unpack_from(f"{order}{count_form}", content, at)
        start = at + struct.calcsize(f"{order}{count_form}")
        for entry in range(start, min(start + count * entry_size, len(content)), entry_size):
            tag, kind = struct.unpack_from(f"{order}HH", content, entry)
            if tag == _TAG and kind == _SHORT:
                return orientation_by_number(struct.unpack_from(f"{order}H", content, entry + value_at)[0])
            if tag > _TAG:
                break  # entries are sorted
    except struct.error:  # GDAL says what is wrong with such a file, where that matters
        pass
    return AS_STORED


def png_orientation(content: bytes) -> Orientation:
    """Return what the Exif block of a PNG says, if it has one."""
    for kind, start, length in _png_chunks(content):
        if kind == b"eXIf":
            return tiff_orientation(content[start : start + length])
    return AS_STORED


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and length of the data of each chunk."""
    at = len(_PNG_START)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        yield kind, at + 8, length
        at += length + 12
