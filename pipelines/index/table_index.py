"""The index of a published table: codes to search, columns to filter by, rows to answer with; all mapped.

Built from the table's shards as a stream, kept as a folder of files, opened from there.

Shapes: N rows, in the table's order, near to near; S sampled rows; Y bytes a code.
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.errors import StaleIndexError, TableError
from pipelines.hamming.arrays import build_arrays, joined, separate
from pipelines.hamming.code_index import CodeIndex
from pipelines.hamming.row_filter import NO_TIME, Columns
from pipelines.index.coverage import Coverage, coverage_of
from pipelines.index.extents import Extents, extents_of
from pipelines.index.files import Arrays, building, open_folder, write_folder
from pipelines.index.filters import Spans, spans_of
from pipelines.index.records import Pieces, append, records_of
from pipelines.index.rows import ROW_COLUMNS, Rows
from pipelines.table.code_table import CodeTable
from pipelines.table.row_ranges import ALL_ROWS, RowRange

log = logging.getLogger(__name__)

SAMPLE = 2048
"""Chips of the sample of a table: those with the least chip ids, which begin with hex digits of a hash."""

_COLUMNS = [*ROW_COLUMNS, "valid_fraction", "code"]
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_IDS, _RECORDS = "ids", "records"


@dataclass(frozen=True)
class TableIndex:
    """One version of a table. Never changes."""

    codes: CodeIndex
    columns: Columns
    spans: Spans
    collections: tuple[str, ...]
    """Their names, by number."""
    rows: Rows
    coverage: Coverage
    extents: Extents

    def sample(self) -> tuple[list[str], NDArray[np.uint8]]:
        """Return the ids of the `SAMPLE` chips whose ids come first, in their order, and their codes_SY.

        Chip ids begin with hex digits of a hash, so these are chips drawn evenly. Of a table in several
        shards they are the first ids of all shards' samples together.
        """
        rows_S = self.rows.first(SAMPLE)
        codes = [self.codes.code(row) for row in rows_S]
        codes_SY = np.stack(codes) if codes else np.empty((0, self.codes.bits // 8), np.uint8)
        return [self.rows.chip_id(row) for row in rows_S], codes_SY


@dataclass(frozen=True)
class IndexedRows:
    """The rows that an index is of: those of a model in a version of a table, or a run of them."""

    table: CodeTable
    model_id: str
    version: int
    part_bits: tuple[int, ...]
    """Bits of each part of a code, in the order of its bytes (`model.spec.CodeSpec`)."""
    row_range: RowRange = ALL_ROWS


def open_index(folder: Path, rows: IndexedRows, threads: int = 1) -> TableIndex:
    """Open the index of some rows; build it unless the folder has it whole.

    Raises TableError if the table's codes have another number of bits, or two rows have one chip id.
    """
    table, model_id, version, part_bits = rows.table, rows.model_id, rows.version, rows.part_bits
    what = {"table": table.uri, "table_id": table.id(version), "model_id": model_id}
    source = what | {"version": version, "part_bits": list(part_bits)} | asdict(rows.row_range)
    with building(folder):  # of several processes that want it at once, one builds it
        try:
            return _opened(folder, open_folder(folder, source), threads)
        except (StaleIndexError, FileNotFoundError) as reason:  # the second: removed while it is opened
            log.info("building the index of version %d: %s", version, reason)
        count, batches = table.stream(model_id, _COLUMNS, version, rows.row_range)
        where = f"version {version} of {table.uri}"
        write_folder(folder, lambda new: _build(new, count, batches, part_bits, where), source)
        return _opened(folder, open_folder(folder, source), threads)


def _build(
    folder: Path, count: int, batches: pa.RecordBatchReader, part_bits: tuple[int, ...], where: str
) -> Arrays:
    width = sum(part_bits) // 8
    codes_NY = np.empty((count, width), np.uint8)
    columns = empty_columns(count)
    names: dict[str, int] = {}
    chip_ids: list[pa.Array] = []
    starts = {name: np.zeros(count + 1, np.int64) for name in (_IDS, _RECORDS)}
    row = 0
    with (folder / _IDS).open("wb") as ids, (folder / _RECORDS).open("wb") as records:
        for batch in batches:
            if not len(batch):
                continue
            behind = slice(row + 1, row + len(batch) + 1)
            starts[_IDS][behind] = append(ids, batch["chip_id"])
            starts[_RECORDS][behind] = append(records, records_of(batch, where))
            chip_ids.append(batch["chip_id"].cast(pa.large_string()))
            codes_NY[row : row + len(batch)] = codes_of(batch["code"], width, where)
            fill_columns(columns, slice(row, row + len(batch)), batch, names)
            row += len(batch)
    all_ids = pa.chunked_array(chip_ids, pa.large_string())  # together they may be more than 2 GB
    order_N = pc.sort_indices(all_ids).to_numpy().astype(np.uint32)
    _check_unique(all_ids.take(pa.array(order_N)), where)
    ranks_N = np.empty(count, np.uint32)
    ranks_N[order_N] = np.arange(count, dtype=np.uint32)
    arrays = separate(build_arrays(codes_NY, ranks_N, part_bits))
    collections = np.array(list(names), np.str_) if names else np.empty(0, "U1")
    return (
        arrays
        | columns._asdict()
        | spans_of(columns)._asdict()
        | _prefixed("coverage", coverage_of(columns.boxes_N4)._asdict())
        | _prefixed("extents", extents_of(columns, len(names))._asdict())
        | {"order_N": order_N, "collections": collections}
        | {f"{name}.starts_N": np.cumsum(lengths) for name, lengths in starts.items()}
    )


def _prefixed(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def codes_of(column: pa.Array, width: int, where: str) -> NDArray[np.uint8]:
    """Return a column as codes_NY. Raises TableError unless every code has ``width`` bytes."""
    try:
        fixed = column.cast(pa.binary(width))
    except pa.ArrowInvalid as error:
        raise TableError(
            f"{where} holds codes that aren't the {width * 8} bits of its model: {error}"
        ) from error
    content = np.frombuffer(fixed.buffers()[1], np.uint8, len(fixed) * width, fixed.offset * width)
    return content.reshape(-1, width)


def empty_columns(count: int) -> Columns:
    """Return columns for some rows, a ``count`` of them; their values aren't written yet."""
    return Columns(
        np.empty((count, 4)),
        np.empty(count, np.int64),
        np.empty(count, np.float32),
        np.empty(count, np.uint32),
    )


def fill_columns(columns: Columns, rows: slice, batch: pa.RecordBatch, names: dict[str, int]) -> None:
    """Write the columns of a batch; ``names``: numbers of the collections so far; new ones are added."""
    for side, name in enumerate(_SIDES):
        columns.boxes_N4[rows, side] = pc.struct_field(batch["bbox"], name).to_numpy(zero_copy_only=False)
    columns.times_N[rows] = batch["datetime"].cast(pa.int64()).fill_null(NO_TIME).to_numpy()
    columns.valid_N[rows] = batch["valid_fraction"].to_numpy()
    encoded = batch["collection"].dictionary_encode()
    numbers = [names.setdefault(name, len(names)) for name in encoded.dictionary.to_pylist()]
    columns.collections_N[rows] = np.array(numbers, np.uint32)[encoded.indices.to_numpy()]


def _check_unique(ids: pa.ChunkedArray, where: str) -> None:
    if len(ids) > 1 and pc.any(pc.equal(ids[1:], ids[:-1])).as_py():
        raise TableError(f"{where} has two rows for one chip id; publish a version that hasn't")


def _opened(folder: Path, arrays: Arrays, threads: int) -> TableIndex:
    columns = Columns(*(arrays[name] for name in Columns._fields))
    collections = tuple(arrays["collections"].tolist())
    return TableIndex(
        CodeIndex(joined(arrays), threads),
        columns,
        Spans(*(arrays[name] for name in Spans._fields)),
        collections,
        Rows(
            Pieces.open(folder / _IDS, arrays[f"{_IDS}.starts_N"]),
            Pieces.open(folder / _RECORDS, arrays[f"{_RECORDS}.starts_N"]),
            arrays["order_N"],
            columns,
            collections,
        ),
        Coverage(*(arrays[f"coverage.{name}"] for name in Coverage._fields)),
        Extents(*(arrays[f"extents.{name}"] for name in Extents._fields)),
    )
