"""Objects to encoded rows: the work of one reading task, on a few objects of a unit.

    fetched ahead -> decoded, cut -> batches sent to an encoder -> codes, put beside the rows -> packed

Shapes: N chips, H x W pixels, C bands, Y bytes a code.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.encode.chips import CHIP, ROW_SCHEMA, ChipBatch, read_objects
from pipelines.encode.usage import Cost, with_cost
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.store import Store

BATCHES_AHEAD = 2
"""Batches of a task that are with the encoders while it reads the next one."""

_COST_FIELDS = [pa.field(each.name, pa.float64()) for each in fields(Cost)]
ENCODED_SCHEMA = pa.schema([*ROW_SCHEMA, pa.field("code", pa.binary()), *_COST_FIELDS])
"""`ROW_SCHEMA` with the code, null where there is no chip, and what the rows cost (`usage`)."""


@dataclass(frozen=True)
class Coded:
    """A batch's codes, and what they cost."""

    codes_NY: NDArray[np.uint8]
    cost: Cost


Encode = Callable[[NDArray[np.uint8]], Future[Coded]]
"""Sends chips_NHWC to an encoder."""


def encode_objects(
    objects: pa.Table, chip_specs: ChipSpecs, store: Store, encode: Encode, batch_size: int
) -> Iterator[pa.Table]:
    """Yield the rows of some objects (see `read_objects`), with the codes of their chips."""
    spent = time.process_time()
    ahead: deque[tuple[pa.Table, Future[Coded] | None]] = deque()

    def next_done() -> pa.Table:
        nonlocal spent
        rows, coming = ahead.popleft()
        coded = coming.result() if coming else None
        own = Cost(time.process_time() - spent)
        spent += own.cpu_seconds
        return _with_codes(rows, coded, own)

    for batch in read_objects(objects, chip_specs, store, batch_size):
        ahead.append(_sent(batch, encode))
        if len(ahead) > BATCHES_AHEAD:
            yield next_done()
    while ahead:
        yield next_done()


def _sent(batch: ChipBatch, encode: Encode) -> tuple[pa.Table, Future[Coded] | None]:
    return batch.rows, encode(batch.chips_NHWC) if len(batch.chips_NHWC) else None


def _with_codes(rows: pa.Table, coded: Coded | None, own: Cost) -> pa.Table:
    """Return rows of `ENCODED_SCHEMA`. The codes become one Arrow array as they are, without a loop."""
    is_chip_N = np.asarray(pc.equal(rows["outcome"], CHIP))
    if coded is None:
        codes = pa.nulls(len(rows), pa.binary())
    else:
        lengths_N = np.where(is_chip_N, coded.codes_NY.shape[1], 0)
        offsets_N = np.concatenate([[0], np.cumsum(lengths_N)]).astype(np.int32)
        validity = pa.py_buffer(np.packbits(is_chip_N, bitorder="little"))
        content = pa.py_buffer(np.ascontiguousarray(coded.codes_NY))
        buffers = [validity, pa.py_buffer(offsets_N), content]
        codes = pa.Array.from_buffers(pa.binary(), len(rows), buffers)
    return with_cost(rows.append_column("code", codes), own + coded.cost if coded else own)


def packed(tables: Iterable[pa.Table]) -> pa.Buffer:
    """Return tables of `ENCODED_SCHEMA` as one compressed stream: what a task returns is all there or not."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, ENCODED_SCHEMA, options=options) as stream:
        for table in tables:
            stream.write_table(table)
    return sink.getvalue()


def unpacked(stream: pa.Buffer) -> Iterator[pa.Table]:
    """Yield the tables of a stream of `packed`, one in memory at a time."""
    with pa.ipc.open_stream(stream) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])
