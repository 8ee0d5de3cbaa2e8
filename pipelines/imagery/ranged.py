"""Lets GDAL read a TIFF by ranges of an object: its header, then the blocks that a window touches.

GDAL asks for all blocks of a window at once (rasterio.abc.MultiByteRangeResourceContainer). It can't be told
that a read has failed: it may then return pixels of whatever is in memory. So a failure is kept, and whoever
has read must ask for it: `RangedFile.raise_failure`.
"""

import io
from collections.abc import Sequence
from typing import Protocol, Self

from rasterio.abc import MultiByteRangeResourceContainer

from pipelines.errors import RejectedObject, ScenehashError
from pipelines.imagery.crs_text import LONGEST, MARKER, NAMES_A_FILE, text_names_a_file

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_PAGE = 16 << 10  # bytes of a header that are looked at together
NAME = "ranged-object"
"""What GDAL calls the object; nothing else can be opened beside it."""


class Ranges(Protocol):
    """An object of which any ranges (start, stop) [bytes] can be read; shorter ones where it ends."""

    size: int

    def read(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the content of ranges. May raise a ScenehashError or FileNotFoundError."""
        ...


def is_tiff(start: bytes) -> bool:
    """Return whether an object that starts so is a TIFF."""
    return start[:4] in _TIFF


class RangedFile(MultiByteRangeResourceContainer):  # type: ignore[misc]  # rasterio has no types
    """An object as the only file of a file system that GDAL can read."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._failure: Exception | None = None
        self._start, self._pages = 0, b""  # the part of the header that was read last
        self._checked: list[tuple[int, int]] = []  # texts of coordinate systems that may be read

    def raise_failure(self) -> None:
        """Raise what a read of GDAL has failed with, now or earlier.

        Raises RejectedObject: ``not_an_image`` if a coordinate system names a file, ``truncated`` if blocks
        lie beyond the object's end. Else raises what reading ranges may raise.
        """
        if self._failure is not None:
            raise self._failure

    def open(self, path: str, mode: str = "r", **_: object) -> "_Handle":
        """Return the object for reading. Raises FileNotFoundError for any other name, OSError for writing."""
        if path != NAME or "w" in mode or "+" in mode:
            raise FileNotFoundError(path)
        return _Handle(self, self._ranges.size)

    def isfile(self, path: str) -> bool:
        """Return whether this is the object."""
        return bool(path == NAME)

    def isdir(self, _: str) -> bool:
        """Return False."""
        return False

    def ls(self, _: str) -> list[str]:
        """Return no names."""
        return []

    def mtime(self, _: str) -> int:
        """Return 0: GDAL compares times of several files, and there is one."""
        return 0

    def size(self, _: str) -> int:
        """Return the object's size [bytes]."""
        return self._ranges.size

    def rm(self, path: str) -> None:
        """Raise FileNotFoundError: nothing is removed."""
        raise FileNotFoundError(path)

    def header(self, start: int, stop: int) -> bytes:
        """Return a part of the header, b"" if that fails or if it names a file that PROJ would open."""
        try:
            while start < stop and not (self._start <= start and stop <= self._start + len(self._pages)):
                self._open_pages(start, stop)
        except (ScenehashError, FileNotFoundError) as error:
            self._failure = self._failure or error
            return b""
        return self._pages[start - self._start : stop - self._start]

    def _open_pages(self, start: int, stop: int) -> None:
        """Read the pages of a part of the object. Raises RejectedObject if a coordinate system names a file.

        Texts are looked at as a whole, wherever GDAL begins and ends to read them.
        """
        first, end = start // _PAGE * _PAGE, min(-(-stop // _PAGE) * _PAGE, self._ranges.size)
        from_byte = max(0, first - len(MARKER) + 1)
        content = self._ranges.read([(from_byte, end + len(MARKER) - 1)])[0]
        lower, at = content.lower(), -1
        while (at := lower.find(MARKER, at + 1)) >= 0:
            place = from_byte + at
            if not any(begin <= place < text_end for begin, text_end in self._checked):
                self._checked.append((place, place + self._check_text(place)))
        self._start, self._pages = first, content[first - from_byte : end - from_byte]
        if len(self._pages) < end - first:
            raise RejectedObject("truncated", f"the object ends before byte {end}")

    def _check_text(self, place: int) -> int:
        """Return the length of a coordinate system's text. Raises RejectedObject if it names a file."""
        text = self._ranges.read([(place, place + LONGEST)])[0].partition(b"\0")[0]
        if len(text) == LONGEST:
            raise RejectedObject("not_an_image", "the text of its coordinate system is too long")
        if text_names_a_file(text):
            raise RejectedObject("not_an_image", NAMES_A_FILE)
        return len(text)

    def blocks(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return blocks of pixels. After a failure the list has only empty ones."""
        try:
            found = self._ranges.read(wanted)
            if any(len(block) < stop - start for block, (start, stop) in zip(found, wanted, strict=True)):
                message = f"blocks lie beyond the object's end, which is at byte {self._ranges.size}"
                raise RejectedObject("truncated", message)
        except (ScenehashError, FileNotFoundError) as error:
            self._failure = self._failure or error
        return [b""] * len(wanted) if self._failure else found


class _Handle(io.RawIOBase):
    """One of GDAL's handles of the object, with a place of its own in it."""

    def __init__(self, file: RangedFile, size: int) -> None:
        super().__init__()
        self._file, self._size, self._place = file, size, 0

    def __enter__(self) -> Self:
        return self

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; b"" at the end, and if reading fails."""
        stop = self._size if size < 0 else min(self._place + size, self._size)
        content = self._file.header(self._place, stop) if stop > self._place else b""
        self._place += len(content)
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place, and return it."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Return blocks of pixels."""
        return self._file.blocks([(start, start + size) for start, size in zip(offsets, sizes, strict=True)])
