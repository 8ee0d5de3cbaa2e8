"""A Parquet or CSV file that names the objects, streamed."""

import posixpath
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipelines.errors import ConfigError, StorageError
from pipelines.manifest import absolute
from pipelines.sources.objects import object_table, times
from pipelines.storage import Store

_ROWS = 10_000  # at a time: the text of one piece must stay below Arrow's 2 GiB
_MEANT = ("uri", "etag", "modified", "datetime", "collection")


def read_manifest(source: str, store: Store) -> Iterator[pa.Table]:
    """Yield the objects of a manifest, some at a time.

    Its columns are ``uri`` (a relative one goes from the manifest's folder), and if need be ``etag``,
    ``modified``, ``datetime`` and ``collection``; all others become properties.

    Raises StorageError where there is no manifest, ConfigError where it can't be read or lacks ``uri``.
    """
    folder = posixpath.dirname(absolute(source))
    for table in stream_file(source, store):
        if "uri" not in table.column_names:
            raise ConfigError(f"manifest {source} lacks the column uri; add or rename it")
        yield _objects(table, source, folder)


def stream_file(source: str, store: Store, column_names: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield a Parquet or CSV file's rows; ``column_names`` are of a CSV without header. CSV holds strings.

    Raises StorageError where the file doesn't exist, ConfigError where it can't be read.
    """
    filesystem, path = store.arrow_filesystem(source)
    try:
        if source.lower().endswith(".parquet"):
            with filesystem.open_input_file(path) as file:
                for batch in pq.ParquetFile(file).iter_batches(_ROWS):
                    yield pa.Table.from_batches([batch])
            return
        names = column_names or _header(filesystem, path)
        options = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
        )
        with filesystem.open_input_stream(path) as file:
            reading = pa_csv.ReadOptions(column_names=column_names)
            for batch in pa_csv.open_csv(file, read_options=reading, convert_options=options):
                yield pa.Table.from_batches([batch])
    except FileNotFoundError as error:
        raise StorageError(f"{source} doesn't exist; check the name") from error
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
    ) as error:  # the last two: types that aren't Arrow's
        raise ConfigError(f"{source} can't be read: {' '.join(str(error).split())[:300]}") from error


def _header(filesystem: pa.fs.FileSystem, path: str) -> list[str]:
    with filesystem.open_input_stream(path) as file:
        return list(pa_csv.open_csv(file).schema.names)


def _objects(table: pa.Table, source: str, folder: str) -> pa.Table:
    columns = {}
    for name in [name for name in _MEANT if name in table.column_names]:
        read = times if name in ("modified", "datetime") else _text
        columns[name] = read(table[name], f"column {name} of {source}")
    if columns["uri"].null_count:
        raise ConfigError(
            f"manifest {source} has rows without uri ({columns['uri'].null_count}); fill them in"
        )
    if not pc.all(pc.starts_with(columns["uri"], "s3://")).as_py():
        columns["uri"] = pa.array([absolute(uri, folder) for uri in columns["uri"].to_pylist()], pa.string())
    others = [name for name in table.column_names if name not in _MEANT]
    properties = {name: _text(table[name], f"column {name} of {source}") for name in others}
    return object_table(columns | {"properties": _maps(properties, len(table))})


def _text(column: pa.ChunkedArray, what: str) -> pa.Array:
    try:
        return pc.cast(column, pa.string()).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError(f"{what} must hold plain values, not {column.type}; leave it out") from error


def _maps(columns: dict[str, pa.Array], rows: int) -> pa.Array:
    """Return a map for each row, of the columns that have a value there."""
    if not columns:
        return pa.nulls(rows, pa.map_(pa.string(), pa.string()))
    row_by_row = np.arange(len(columns) * rows).reshape(len(columns), rows).T.ravel()
    values = pa.concat_arrays(columns.values()).take(pa.array(row_by_row))
    keys = pa.array(list(columns), pa.string()).take(pa.array(np.tile(np.arange(len(columns)), rows)))
    given = values.is_valid()
    counts = np.asarray(given).reshape(rows, len(columns)).sum(1)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.MapArray.from_arrays(offsets, keys.filter(given), values.filter(given))
