"""What goes through a night's Ray Data execution: parcels. Each is a row of the dataset, and a block.

    portion: a few objects of a unit -> read: their chips, one tensor, with rows -> encoded: rows with codes

So Ray Data never cuts or joins a tensor, and the size of a parcel bounds what a task holds.

Shapes: N chips, H x W pixels, C bands, Y bytes a code.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.encode.chips import CHIP, ROW_SCHEMA, ChipBatch, read_objects
from pipelines.encode.usage import Cost, with_cost
from pipelines.runtime.spill import in_pieces, read_spilled
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.store import Store

BATCHES = 4
"""Most batches of the network in a parcel: few enough to spread the work, enough to hide a task's start."""

_COST_FIELDS = [pa.field(each.name, pa.float64()) for each in fields(Cost)]
ENCODED_SCHEMA = pa.schema([*ROW_SCHEMA, pa.field("code", pa.binary()), *_COST_FIELDS])
"""`ROW_SCHEMA` with the code, null where there is no chip, and what the rows cost (`usage`)."""


@dataclass(frozen=True)
class Label:
    """What an encoded parcel says of itself."""

    unit: int
    """Number of the unit that its rows belong to, from 0."""
    ends_unit: bool
    """Whether it is the unit's last one."""
    objects: int
    """How many objects its portion has if it is the portion's last parcel, else 0."""
    read_seconds: float
    """How long the portion took to read if it is its last parcel, else 0."""
    encode_seconds: float


def units_of(new: Path, objects_per_unit: int) -> Iterator[pa.Table]:
    """Yield the units of a file like `Plan.new`, in its order: tables of at most so many objects."""
    return in_pieces(read_spilled(new), objects_per_unit)


def portions(path: Path, objects_per_unit: int, sizes: Iterator[int]) -> Iterator[pa.Table]:
    """Yield a plan's objects, unit for unit, in portions of as many objects as ``sizes`` says."""
    for number, unit in enumerate(units_of(path, objects_per_unit)):
        begun = 0
        while begun < len(unit):
            objects = unit.slice(begun, next(sizes))
            begun += len(objects)
            yield pa.table({"unit": [number], "ends_unit": [begun == len(unit)], "objects": _packed(objects)})


def objects_of(portion: pa.Table) -> pa.Table:
    """Return the objects of a portion, as the plan has them."""
    return _unpacked(portion["objects"])


def read_portion(
    portion: pa.Table, chip_specs: ChipSpecs, store: Store, batch_size: int
) -> Iterator[pa.Table]:
    """Yield a portion's parcels: chips of its objects with their rows (see `read_objects`)."""
    started, spent = time.monotonic(), time.process_time()
    objects = objects_of(portion)
    batches = read_objects(objects, chip_specs, store, BATCHES * batch_size)
    batch: ChipBatch | None = next(batches)
    while batch:
        following = next(batches, None)
        ends_portion, now = following is None, time.process_time()
        yield pa.table(
            {
                "unit": portion["unit"],
                "ends_unit": [portion["ends_unit"][0].as_py() and ends_portion],
                "objects": [len(objects) if ends_portion else 0],
                "read_seconds": [time.monotonic() - started if ends_portion else 0.0],
                "cpu_seconds": [now - spent],
                "rows": _packed(batch.rows),
                "chips": _as_one(pa.py_buffer(batch.chips_NHWC)),
            }
        )
        batch, spent = following, now


def chips_of(parcel: pa.Table, shape_HWC: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the chips_NHWC of a parcel. They aren't copied, and can't be written to."""
    return np.frombuffer(_content(parcel["chips"]), np.uint8).reshape(-1, *shape_HWC)


def encoded_parcel(
    parcel: pa.Table, codes_NY: NDArray[np.uint8] | None, cost: Cost, seconds: float
) -> pa.Table:
    """Return a parcel with the codes of its chips in their place; None if it has no chip."""
    rows = _unpacked(parcel["rows"])
    codes = pa.nulls(len(rows), pa.binary()) if codes_NY is None else _column(rows, codes_NY)
    cost += Cost(parcel["cpu_seconds"][0].as_py())
    rows = with_cost(rows.append_column("code", codes), cost)
    parcel = parcel.drop_columns(["rows", "chips", "cpu_seconds"])
    parcel = parcel.append_column("encode_seconds", pa.array([seconds]))
    return parcel.append_column("rows", _packed(rows, "lz4"))


def label_of(parcel: pa.Table) -> Label:
    """Return what an encoded parcel says of itself."""
    (label,) = parcel.drop_columns(["rows"]).to_pylist()
    return Label(**label)


def rows_of(parcel: pa.Table) -> pa.Table:
    """Return the rows of an encoded parcel: `ENCODED_SCHEMA`."""
    return _unpacked(parcel["rows"])


def _column(rows: pa.Table, codes_NY: NDArray[np.uint8]) -> pa.Array:
    """Return codes as an Arrow array as they are, without a loop; null where there is no chip."""
    is_chip_N = np.asarray(pc.equal(rows["outcome"], CHIP))
    lengths_N = np.where(is_chip_N, codes_NY.shape[1], 0)
    offsets_N = np.concatenate([[0], np.cumsum(lengths_N)]).astype(np.int32)
    validity = pa.py_buffer(np.packbits(is_chip_N, bitorder="little"))
    content = pa.py_buffer(np.ascontiguousarray(codes_NY))
    return pa.Array.from_buffers(pa.binary(), len(rows), [validity, pa.py_buffer(offsets_N), content])


def _packed(rows: pa.Table, compression: str | None = None) -> pa.Array:
    """Return a table as one value."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, rows.schema, options=options) as stream:
        stream.write_table(rows)
    return _as_one(sink.getvalue())


def _unpacked(packed: pa.ChunkedArray) -> pa.Table:
    with pa.ipc.open_stream(_content(packed)) as stream:
        return stream.read_all()


def _content(one: pa.ChunkedArray) -> pa.Buffer:
    """Return a column's only value, not copied, as Arrow's scalars are."""
    (chunk,) = one.chunks
    _, ends, content = chunk.buffers()
    begin, end = np.frombuffer(ends, np.int64)[chunk.offset : chunk.offset + 2].tolist()
    return content.slice(begin, end - begin)


def _as_one(content: pa.Buffer) -> pa.Array:
    """Return bytes as an array of one value, not copied; they may be more than 2 GiB."""
    ends = pa.py_buffer(np.array([0, content.size], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, content])
