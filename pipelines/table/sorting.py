"""Sorts any number of rows along the Hilbert curve, on disk, with one bounded piece in memory at a time.

    tables as they come -> rows.arrow -> keys sorted and divided into pieces
        -> pieces.arrow, where the rows of a piece lie in few runs -> each piece read, sorted, yielded

Memory: a few times `BYTES_PER_PIECE`, and about 32 bytes for each row. Disk: all rows twice, as LZ4.

Shapes: N rows of all tables, R rows of one run, P pieces.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ROWS_PER_PIECE = 50_000
BYTES_PER_PIECE = 64 << 20
"""Limits of a piece. One Arrow column of text holds 2 GiB at most, which all rows together may exceed."""

_FIXED_BYTES = 128  # of a row: its numbers, and the offsets of its texts
_RANK = "rank"  # the position of a row in the sorted order; a column of pieces.arrow

Int64s = NDArray[np.int64]


def spatially_sorted(tables: Iterable[pa.Table], schema: pa.Schema, folder: Path) -> Iterator[pa.Table]:
    """Yield the rows of all tables along the Hilbert curve, in pieces; rows without a place come last.

    The tables have the columns of ``schema`` in this order, among them ``bbox``. All are read before any
    piece is yielded. Rows with the same key stay in the order in which they came. Temporary files go to
    ``folder``.
    """
    rows, pieces = folder / "rows.arrow", folder / "pieces.arrow"
    key_N, bytes_N = _spill(tables, schema, rows)
    order_N = np.argsort(key_N, kind="stable")
    ends_P = _piece_ends(bytes_N[order_N])
    rank_N = np.empty_like(order_N)
    rank_N[order_N] = np.arange(len(order_N))
    runs = _spill_by_piece(rows, rank_N, ends_P, schema, pieces)
    rows.unlink()
    with pa.OSFile(str(pieces)) as file:
        reader = pa.ipc.open_file(file)
        for piece in range(len(ends_P)):
            joined = pa.Table.from_batches([reader.get_batch(number) for number in runs[piece]])
            yield joined.drop_columns([_RANK]).take(pc.sort_indices(joined[_RANK]))
    pieces.unlink()


def in_bounded_pieces(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of all tables, in their order, in pieces within the limits."""
    held: list[pa.Table] = []
    rows, size = 0, 0
    for table in tables:
        for batch in table.to_batches():
            for first, last in pairwise([0, *_piece_ends(_row_bytes(batch)).tolist()]):
                part = batch.slice(first, last - first)
                if held and (rows + len(part) > ROWS_PER_PIECE or size + part.nbytes > BYTES_PER_PIECE):
                    yield pa.concat_tables(held)
                    held, rows, size = [], 0, 0
                held.append(pa.Table.from_batches([part]))
                rows, size = rows + len(part), size + part.nbytes
    if held:
        yield pa.concat_tables(held)


def spatial_key(bbox: pa.ChunkedArray) -> Int64s:
    """Return the position of each bbox (its south-west corner) on the Hilbert curve; null comes last."""
    corner = pc.struct_field(bbox, "xmin"), pc.struct_field(bbox, "ymin")
    longitude_N, latitude_N = (np.asarray(pc.fill_null(side, np.nan), np.float64) for side in corner)
    return hilbert_key(longitude_N, latitude_N)


def hilbert_key(longitude_N: np.ndarray, latitude_N: np.ndarray, order: int = 16) -> np.ndarray:
    """Return each point's distance along the Hilbert curve over the world (int64); NaN comes last.

    Longitude -180..180 and latitude -90..90 are divided into 2 ** ``order`` cells each. Source: J. Skilling,
    "Programming the Hilbert curve" (2004), for two dimensions.
    """
    cells = 1 << order
    x_N = np.clip((np.nan_to_num(longitude_N) + 180) / 360 * cells, 0, cells - 1).astype(np.int64)
    y_N = np.clip((np.nan_to_num(latitude_N) + 90) / 180 * cells, 0, cells - 1).astype(np.int64)
    key_N = np.zeros(len(x_N), np.int64)
    side = cells >> 1
    while side:
        right_N, upper_N = (x_N & side) > 0, (y_N & side) > 0
        key_N += side * side * ((3 * right_N) ^ upper_N)
        flip_N = ~upper_N & right_N
        x_N, y_N = np.where(flip_N, side - 1 - x_N, x_N), np.where(flip_N, side - 1 - y_N, y_N)
        x_N, y_N = np.where(upper_N, x_N, y_N), np.where(upper_N, y_N, x_N)
        side >>= 1
    return np.where(np.isnan(longitude_N), np.iinfo(np.int64).max, key_N)


def _spill(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> tuple[Int64s, Int64s]:
    """Write the tables to a file; return key_N, the positions of their rows, and bytes_N, their sizes."""
    keys, sizes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    with _writer(path, schema) as writer:
        for piece in in_bounded_pieces(tables):
            keys.append(spatial_key(piece["bbox"]))
            for batch in piece.cast(schema).combine_chunks().to_batches():
                sizes.append(_row_bytes(batch))
                writer.write_batch(batch)
    return np.concatenate(keys), np.concatenate(sizes)


def _spill_by_piece(
    rows: Path, rank_N: Int64s, ends_P: Int64s, schema: pa.Schema, path: Path
) -> dict[int, list[int]]:
    """Write the rows again, grouped by piece; return the numbers of the record batches of each piece."""
    runs: dict[int, list[int]] = defaultdict(list)
    first, written = 0, 0
    with pa.OSFile(str(rows)) as file, _writer(path, schema.append(pa.field(_RANK, pa.int64()))) as writer:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            rank_R = rank_N[first : first + len(batch)]
            first += len(batch)
            order_R = np.argsort(rank_R)
            run = batch.append_column(_RANK, pa.array(rank_R)).take(pa.array(order_R))
            cuts_P = np.searchsorted(rank_R[order_R], ends_P)
            for piece, (start, end) in enumerate(pairwise([0, *cuts_P.tolist()])):
                if start < end:
                    writer.write_batch(run.slice(start, end - start))
                    runs[piece].append(written)
                    written += 1
    return runs


def _writer(path: Path, schema: pa.Schema) -> pa.ipc.RecordBatchFileWriter:
    return pa.ipc.new_file(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))


def _piece_ends(bytes_N: Int64s) -> Int64s:
    """Return the end of each piece (exclusive): as many rows as both limits allow, at least one."""
    total_N = np.cumsum(bytes_N)
    ends: list[int] = []
    start, before = 0, 0
    while start < len(total_N):
        by_bytes = int(np.searchsorted(total_N, before + BYTES_PER_PIECE, "right"))
        start = min(start + ROWS_PER_PIECE, max(by_bytes, start + 1), len(total_N))
        before = int(total_N[start - 1])
        ends.append(start)
    return np.array(ends, np.int64)


def _row_bytes(batch: pa.RecordBatch) -> Int64s:
    """Return about how many bytes each row takes in memory."""
    bytes_N = np.full(len(batch), _FIXED_BYTES, np.int64)
    for column in batch.columns:
        if pa.types.is_map(column.type):
            items = _text_bytes(column.keys) + _text_bytes(column.items)
            total_I = np.concatenate([[0], np.cumsum(items)])
            offsets_N = np.asarray(column.offsets)
            bytes_N += total_I[offsets_N[1:]] - total_I[offsets_N[:-1]]
        elif pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            bytes_N += _text_bytes(column)
    return bytes_N


def _text_bytes(column: pa.Array) -> Int64s:
    return np.asarray(pc.fill_null(pc.binary_length(column), 0), np.int64)
