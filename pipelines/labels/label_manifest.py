"""A manifest of labelled chips: the rows of a Parquet or CSV file, each checked."""

import io
import posixpath
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import structlog

from pipelines.errors import ConfigError, StorageError, one_line
from pipelines.imagery.window import WindowTuple
from pipelines.uris import absolute, check_named, is_web

if TYPE_CHECKING:
    # takes a second to import, which `--help` shouldn't wait for: its configs import this module
    from pipelines.storage.store import Store

log = structlog.get_logger()

T = TypeVar("T")

MANIFESTS = {".parquet": "Parquet", ".csv": "CSV"}
"""Kinds of manifests, by the ending of their URI in lower case."""

SIDES = ("x", "y", "w", "h")
"""Names of a window's numbers, in its order."""

_OTHER_NAMES = {
    "x": ("x", "xoff", "xmin", "xoffset", "left", "col", "coloff", "column"),
    "y": ("y", "yoff", "ymin", "yoffset", "top", "row", "rowoff"),
    "w": ("w", "width", "xsize", "xmax", "right"),
    "h": ("h", "height", "ysize", "ymax", "bottom"),
}
_OTHERS = ("uri", "label", "labels", "window", "split")
_COLUMNS = (*_OTHERS, *SIDES)
_BLOCK = 16 << 20  # bytes of CSV that are parsed together: no row may be longer
_REQUESTS = 16  # at a time


@dataclass(frozen=True)
class LabelledChip:
    """One row of a labelled source."""

    uri: str
    """URI of its image, absolute."""
    name: str
    """Name of its image in the source, which stays the same if the source is moved."""
    etag: str
    """Etag of its image; empty if there is no such object."""
    window: WindowTuple | None
    """(x, y, w, h) in pixels of the image; None: all of it."""
    labels: Sequence[str]
    """One at least, without repeats."""
    split: str | None
    """None if the source doesn't say."""


def read_manifest(uri: str, store: "Store") -> list[LabelledChip]:
    """Return the chips of a manifest whose URI ends in .parquet or .csv.

    Its columns are ``uri`` (absolute, or relative to the manifest's folder), ``label`` or ``labels`` (a list;
    in CSV separated by ``;``), and optionally ``window`` (a struct of x, y, w, h; in CSV four columns of
    these names) and ``split``. Other columns are ignored.

    Raises ConfigError if columns or values are missing or of the wrong kind, StorageError if there is no
    manifest.
    """
    table = _read_table(uri, store)
    names = _strings(uri, table, "uri")
    windows = _windows(uri, table)
    labels = _labels(uri, table)
    splits = _strings(uri, table, "split") if "split" in table.column_names else [None] * len(table)
    folder = posixpath.dirname(absolute(uri))
    uris = [absolute(name, folder) for name in names]
    check_named(uri, uris)
    etags = _etags(uris, store)
    hidden = [of_image for of_image in uris if posixpath.basename(of_image).startswith(".")]
    if hidden:  # such as ._a.tif, which macOS leaves beside a.tif
        log.warning("hidden files are passed over", manifest=uri, files=len(hidden), example=hidden[0])
    return [
        LabelledChip(of_image, name, etags.get(of_image, ""), window, of_chip, split)
        for of_image, name, window, of_chip, split in zip(uris, names, windows, labels, splits, strict=True)
        if not posixpath.basename(of_image).startswith(".")
    ]


def _read_table(source: str, store: "Store") -> pa.Table:
    """Return the columns of a manifest that are used here; it has one row at least."""
    kind = MANIFESTS[posixpath.splitext(source)[1].lower()]
    try:
        content = io.BytesIO(store.read(source))
    except FileNotFoundError as error:
        raise StorageError(f"manifest {source} doesn't exist; check the name") from error
    try:
        table = _read_csv(content) if kind == "CSV" else pq.ParquetFile(content).read()
        names = [field.name for field in table.schema if field.name in _COLUMNS and not _says_nothing(field)]
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
    ) as error:  # the last two: types that aren't Arrow's
        raise ConfigError(f"manifest {source} can't be read as {kind}: {one_line(error, 300)}") from error
    _check_sides(source, table.schema.names)
    required = ("uri", "labels" if "labels" in names else "label")
    missing = [name for name in required if name not in names]
    if missing:
        raise ConfigError(f"manifest {source} lacks the columns {', '.join(missing)}; add or rename them")
    if {"label", "labels"} <= set(names):
        raise ConfigError(f"manifest {source} has the columns label and labels; leave one of them out")
    if len(names) > len(set(names)):
        raise ConfigError(f"manifest {source} has a column twice, of {', '.join(names)}; leave one out")
    if not len(table):
        raise ConfigError(f"manifest {source} has no rows; add one for each labelled chip")
    return table.select(names)


def _check_sides(source: str, names: Sequence[str]) -> None:
    """Raise ConfigError if the columns have a whole window, but with other names: they would be ignored."""
    meant = {name: name if name in SIDES else _plain_side(name) for name in names if name not in _OTHERS}
    wrong = [name for name, side in meant.items() if side and name != side]
    if wrong and set(SIDES) <= set(meant.values()):
        raise ConfigError(
            f"manifest {source}: {', '.join(wrong)} look like a window; name its columns x, y, w and h "
            "(left, top, width and height in pixels), or leave them out"
        )


def _plain_side(name: str) -> str | None:
    """Return the side of a window that a column of another name may mean: x, y, w or h; None for others."""
    word = re.sub(r"[^a-z]", "", name.lower())
    word = word.removeprefix("window").removeprefix("pixel").removeprefix("bbox")
    return next((side for side, words in _OTHER_NAMES.items() if word in words), None)


def _read_csv(content: io.BytesIO) -> pa.Table:
    # all columns are text, so that a label 01 stays 01; NA is a label like any other
    options = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(_COLUMNS, pa.string()), null_values=[""], strings_can_be_null=True
    )
    reading = pa_csv.ReadOptions(block_size=_BLOCK)
    parsing = pa_csv.ParseOptions(newlines_in_values=True)
    return pa_csv.read_csv(content, reading, parsing, options)


def _says_nothing(field: pa.Field) -> bool:
    """Return whether every window is null, so that Parquet has no type for it."""
    return bool(field.name == "window" and pa.types.is_null(field.type))


def _cast(source: str, name: str, column: pa.ChunkedArray, to: pa.DataType) -> list[Any]:
    try:
        values: list[Any] = pc.cast(column, to).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise ConfigError(f"manifest {source}: column {name} must be {to}: {error}") from error
    return values


def _filled(source: str, name: str, values: list[T]) -> list[T]:
    """Return the values. Raises ConfigError if a row has none."""
    gaps = sum(not value for value in values)
    if gaps:
        raise ConfigError(
            f"manifest {source} has rows without {name} ({gaps} of {len(values)}); fill them in"
        )
    return values


def _strings(source: str, table: pa.Table, name: str) -> list[str]:
    return _filled(source, name, _cast(source, name, table[name], pa.string()))


def _labels(source: str, table: pa.Table) -> list[list[str]]:
    """Return the labels of each row, without repeats."""
    if "label" in table.column_names:
        return [[label] for label in _strings(source, table, "label")]
    column = table["labels"]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        given = [[part.strip() for part in text.split(";")] for text in _strings(source, table, "labels")]
    else:
        given = _cast(source, "labels", column, pa.list_(pa.string()))
    return _filled(source, "labels", [list(dict.fromkeys(filter(None, row or ()))) for row in given])


def _windows(source: str, table: pa.Table) -> list[WindowTuple | None]:
    """Return the window of each row, None for the whole image."""
    flat = table.flatten()  # a struct becomes window.x and so on
    prefix = "window." if "window" in table.column_names else ""
    if prefix and not pa.types.is_struct(table["window"].type):
        raise ConfigError(
            f"manifest {source}: the column window must be a struct of x, y, w and h; in CSV write four "
            "columns of these names"
        )
    names = [f"{prefix}{side}" for side in SIDES]
    missing = [name for name in names if flat.column_names.count(name) != 1]
    if not prefix and len(missing) == len(SIDES):
        return [None] * len(table)
    if missing:
        raise ConfigError(
            f"manifest {source}: a window needs x, y, w and h; {', '.join(missing)} is missing or double"
        )
    sides = [_cast(source, name, flat[name], pa.int32()) for name in names]
    windows = []
    for row, window in enumerate(zip(*sides, strict=True)):
        whole = window.count(None) == len(SIDES)
        if not whole and (None in window or min(window[:2]) < 0 or min(window[2:]) < 1):
            raise ConfigError(
                f"manifest {source}: the window of {table['uri'][row]} is {window}; "
                "x and y must be 0 at least, w and h 1, or all four empty for the whole image"
            )
        windows.append(None if whole else window)
    return windows


def _etags(uris: Iterable[str], store: "Store") -> dict[str, str]:
    """Return the etags of the objects that exist. Folders are listed; web servers are asked for each object.

    An object whose store doesn't send an etag is left out: its features can't be kept in a cache.
    """
    wanted = set(uris)

    def etags_in(folder: str) -> dict[str, str]:
        with suppress(StorageError):  # reading the object will raise it again
            listed = store.list(folder, recursive=False)
            return {info.uri: info.etag for info in listed if info.uri in wanted}
        return {}

    def etag_of(uri: str) -> dict[str, str]:
        with suppress(StorageError):
            return {uri: store.etag(uri) or ""}
        return {}

    of_web = sorted(uri for uri in wanted if is_web(uri))
    # a folder's name may end in a slash: that of s3://bucket/a//b.tif
    folders = sorted({uri.rpartition("/")[0] + "/" for uri in wanted.difference(of_web)})
    with ThreadPoolExecutor(_REQUESTS) as pool:
        found = [*pool.map(etags_in, folders), *pool.map(etag_of, of_web)]
    return {uri: etag for some in found for uri, etag in some.items()}
