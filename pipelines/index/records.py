"""What only answers say of a row: its chip id, and a record of everything else, each read in one piece.

A record is uri, etag and cut, each followed by a NUL; the window, as four little-endian int32; the outline
as WKB, nothing where there is none. In one piece because what reading a row costs is how many places of
memory it touches, and Arrow's columns would be eleven. Chip ids are apart: answers in columns have nothing
else of it.

Shapes: N rows, M rows asked for, or of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.errors import TableError
from pipelines.hamming.jit import Int64s

TEXTS = ("uri", "etag", "cut")
COLUMNS = [*TEXTS, "window", "geometry"]
"""What a record holds."""

_END = b"\0"
_WINDOW = Struct("<4i")


@dataclass(frozen=True)
class Pieces:
    """A file of pieces of bytes, one for each row; mapped."""

    content: mmap | bytes
    starts: memoryview
    """Where each piece starts, and behind them the end of the last; the items are plain numbers."""

    @classmethod
    def open(cls, path: Path, starts_N: Int64s) -> "Pieces":
        """Map the file; ``starts_N`` has one number more than there are pieces."""
        if starts_N[-1] == 0:
            return cls(b"", starts_N.data)  # an empty file can't be mapped
        with path.open("rb") as file:
            return cls(mmap(file.fileno(), 0, access=ACCESS_READ), starts_N.data)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> bytes:
        return self.content[self.starts[row] : self.starts[row + 1]]


def append(file: IO[bytes], pieces: pa.Array) -> Int64s:
    """Append pieces, an array of texts or bytes, to a file of `Pieces`; return how many bytes each has."""
    pieces = pieces.cast(pa.large_binary())
    starts = np.frombuffer(pieces.buffers()[1], np.int64)[pieces.offset :][: len(pieces) + 1]
    if len(pieces):
        file.write(memoryview(pieces.buffers()[2])[starts[0] : starts[-1]])
    return np.diff(starts)


def records_of(batch: pa.RecordBatch, where: str) -> pa.Array:
    """Return the records of a batch, which has `COLUMNS`. Raises TableError if a text has a NUL."""
    texts = [batch[name].cast(pa.large_binary()) for name in TEXTS]
    if any(pc.any(pc.match_substring(column, _END)).as_py() for column in texts):
        raise TableError(f"{where} has a NUL character in a uri, etag or cut; remove the chip")
    sides_M4 = np.stack([batch["window"].field(side).to_numpy() for side in range(4)], axis=1)
    content = pa.py_buffer(sides_M4.astype("<i4").tobytes())
    windows = pa.Array.from_buffers(pa.binary(_WINDOW.size), len(batch), [None, content])
    outlines = batch["geometry"].cast(pa.large_binary())
    return _joined([*texts, _joined([windows.cast(pa.large_binary()), outlines], b"")], _END)


def _joined(columns: Sequence[pa.Array], between: bytes) -> pa.Array:
    separator = pa.scalar(between, pa.large_binary())
    return pc.binary_join_element_wise(*columns, separator, null_handling="replace", null_replacement="")


def columns_of(records: Pieces, rows_M: NDArray[np.int64], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return some of `COLUMNS` of some rows, each as a list in the order of the rows."""
    if not names:
        return {}
    # the window may have NULs too, but it comes behind the last text
    split = [records[row].split(_END, len(TEXTS)) for row in rows_M.tolist()]
    columns: dict[str, list[Any]] = {}
    for name in names:
        if name == "window":
            columns[name] = [_WINDOW.unpack_from(fields[-1]) for fields in split]
        elif name == "geometry":
            columns[name] = [fields[-1][_WINDOW.size :] or None for fields in split]
        else:
            place = TEXTS.index(name)
            columns[name] = [str(fields[place], "utf-8") for fields in split]
    return columns
