"""A manifest: a Parquet or CSV file that names the objects. It is streamed."""

import posixpath
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import structlog

from pipelines.errors import ConfigError, StorageError, one_line
from pipelines.sources.objects import Column, object_table, plain_etags, times
from pipelines.storage.listings import PassedOver
from pipelines.storage.store import Store
from pipelines.uris import absolute

log = structlog.get_logger()

_ROWS = 10_000  # in one table: its text must stay below Arrow's 2 GiB
_BLOCK = 16 << 20  # bytes of CSV that are parsed together; no row may be longer
_MEANT = ("uri", "etag", "modified", "datetime", "collection")
_TIMES = ("modified", "datetime")


def read_manifest(source: str, store: Store, passed_over: PassedOver | None = None) -> Iterator[pa.Table]:
    """Yield the objects of a manifest, as tables of `OBJECT_SCHEMA`.

    Its columns are ``uri`` (a relative one starts at the manifest's folder), and optionally ``etag``,
    ``modified``, ``datetime`` and ``collection``. All other columns become properties, except those without
    plain values, such as GeoParquet's geometry. Invalid rows are counted in ``passed_over``.

    Raises StorageError if there is no manifest, ConfigError if it can't be read, lacks ``uri``, or has a
    column of a wrong type.
    """
    passed_over = PassedOver() if passed_over is None else passed_over
    folder = posixpath.dirname(absolute(source))
    is_first = True
    for table in stream_file(source, store, passed_over=passed_over):
        if "uri" not in table.column_names:
            raise ConfigError(f"manifest {source} lacks the column uri; add or rename it")
        others = [field for field in table.schema if field.name not in _MEANT]
        plain = [field.name for field in others if _is_plain(field.type)]
        if is_first and len(plain) < len(others):
            names = [field.name for field in others if field.name not in plain]
            log.warning("columns that hold no plain values are passed over", manifest=source, columns=names)
        is_first = False
        yield _objects(table, plain, source, folder, passed_over)


def stream_file(
    source: str,
    store: Store,
    column_names: list[str] | None = None,
    passed_over: PassedOver | None = None,
) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet or CSV file. All columns of a CSV are text.

    ``column_names`` are those of a CSV without a header. Rows of a CSV with too many or too few values are
    counted in ``passed_over``. Raises StorageError if the file doesn't exist, isn't a regular one or access
    fails, ConfigError if it can't be read or has a column twice.
    """
    passed_over = PassedOver() if passed_over is None else passed_over
    filesystem, path = store.arrow_filesystem(source)
    store.etag(source)  # asked for alone, as Arrow's error wouldn't say which of the keys is wrong
    try:
        if source.lower().endswith(".parquet"):
            with filesystem.open_input_file(path) as file:
                parquet = pq.ParquetFile(file)
                _check_names(source, parquet.schema_arrow.names)
                for batch in parquet.iter_batches(_ROWS):
                    yield pa.Table.from_batches([batch])
            return
        yield from _stream_csv(source, filesystem, path, column_names, passed_over)
    except FileNotFoundError as error:
        raise StorageError(f"{source} doesn't exist; check the name") from error
    # ValueError and TypeError: for types that Arrow doesn't have
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{source} can't be read: {one_line(error, 300)}") from error


def _stream_csv(
    source: str,
    filesystem: pa.fs.FileSystem,
    path: str,
    column_names: list[str] | None,
    passed_over: PassedOver,
) -> Iterator[pa.Table]:
    def skip(row: pa_csv.InvalidRow) -> str:
        detail = f"{row.actual_columns} values, not {row.expected_columns}"
        passed_over.add("bad_row", f"{source}: {row.text[:100]}", detail, hides=True)
        return "skip"

    reading = pa_csv.ReadOptions(column_names=column_names, block_size=_BLOCK)
    parsing = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)
    names = column_names
    if names is None:
        with filesystem.open_input_stream(path) as file:
            headed = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip")
            names = list(pa_csv.open_csv(file, read_options=reading, parse_options=headed).schema.names)
    _check_names(source, names)
    converting = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
    )
    with filesystem.open_input_stream(path) as file:
        for batch in pa_csv.open_csv(file, reading, parsing, converting):
            yield pa.Table.from_batches([batch])


def _check_names(source: str, names: list[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ConfigError(f"{source} has a column twice: {', '.join(twice)}; rename or leave out one")


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether a single value of this type can be written as text."""
    if isinstance(kind, pa.BaseExtensionType):
        return False
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    is_binary = is_binary or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind)
    return not (is_binary or pa.types.is_nested(kind))


def _objects(
    table: pa.Table, others: list[str], source: str, folder: str, passed_over: PassedOver
) -> pa.Table:
    columns: dict[str, Column] = {}
    wrong: dict[str, pa.Array] = {}  # for each problem, which rows have it
    for name in [name for name in _MEANT if name in table.column_names]:
        read = times if name in _TIMES else texts
        columns[name] = read(table[name], f"column {name} of {source}")
        is_lost = pc.and_(pc.is_null(columns[name]), pc.is_valid(table[name]))
        wanted = "a time such as 2026-11-20T10:00:00Z" if name in _TIMES else "UTF-8"
        wrong[f"{name} must be {wanted}"] = is_lost
    names = columns["uri"]
    columns["uri"], problems = _uris(names, folder)
    for problem in dict.fromkeys(filter(None, problems)):
        wrong[str(problem)] = pa.array([problem == of_row for of_row in problems])
    is_right = np.ones(len(table), np.bool_)
    for problem, rows in wrong.items():
        for row in np.flatnonzero(np.asarray(rows) & is_right):
            name = f"row {names[int(row)].as_py() or 'without uri'} of {source}"
            passed_over.add("bad_row", name, problem, hides=True)
        is_right &= ~np.asarray(rows)
    if "etag" in columns:
        columns["etag"] = plain_etags(columns["etag"])
    properties = {name: texts(table[name], f"column {name} of {source}") for name in others}
    objects = object_table(columns | {"properties": _maps(properties, len(table))})
    return objects if is_right.all() else objects.filter(pa.array(is_right))


def _uris(column: Column, folder: str) -> tuple[Column, list[str | None]]:
    """Return URIs as listings write them, and for each row what is wrong with its URI, if anything."""
    if not column.null_count and pc.all(pc.starts_with(column, "s3://")).as_py():
        return column, []
    uris: list[str] = []
    problems: list[str | None] = []
    for uri in column.to_pylist():
        try:
            uris.append(absolute(uri, folder) if uri else "")
            problems.append(None if uri else "rows without uri; fill them in")
        except ConfigError as error:
            uris.append("")
            problems.append(str(error))
    return pa.array(uris, pa.string()), problems


def texts(column: pa.ChunkedArray, what: str) -> pa.Array:
    """Return a column as text; values that aren't UTF-8 become null."""
    try:
        texts = pc.cast(column, pa.string()).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            return pa.array([_decoded(value) for value in column.to_pylist()], pa.string())
        raise ConfigError(f"{what} must hold plain values, not {column.type}; leave it out") from error
    try:
        texts.validate(full=True)  # a Parquet file may hold any bytes as a text
    except pa.ArrowInvalid:
        return pa.array([_decoded(value) for value in pc.cast(texts, pa.binary()).to_pylist()], pa.string())
    return texts


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _maps(columns: dict[str, pa.Array], rows: int) -> pa.Array:
    """Return for each row a map of the columns that have a value in it."""
    if not columns:
        return pa.nulls(rows, pa.map_(pa.string(), pa.string()))
    row_by_row = np.arange(len(columns) * rows).reshape(len(columns), rows).T.ravel()
    values = pa.concat_arrays(columns.values()).take(pa.array(row_by_row))
    keys = pa.array(list(columns), pa.string()).take(pa.array(np.tile(np.arange(len(columns)), rows)))
    given = values.is_valid()
    counts = np.asarray(given).reshape(rows, len(columns)).sum(1)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.MapArray.from_arrays(offsets, keys.filter(given), values.filter(given))
