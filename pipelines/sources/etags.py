"""Etags of objects for which the source has none: those of the store are looked up."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.errors import StorageError, StoreDownError
from pipelines.runtime.database import database, number, view, write
from pipelines.runtime.spill import spill
from pipelines.runtime.threads import mapped_ahead
from pipelines.sources.prefix import list_pages
from pipelines.storage.store import Store
from pipelines.uris import is_web

_SCHEMA = pa.schema([("uri", pa.string()), ("etag", pa.string()), ("failed", pa.bool_())])
_BATCH = 10_000  # folders or objects that are looked up together
_REQUESTS = 16  # at a time

Row = tuple[str, str | None, bool]
"""A row of `_SCHEMA`. Failed: the object's web server didn't answer, but may later."""


def fill_etags(objects: Path, folder: Path, store: Store) -> tuple[Path, list[str]]:
    """Return a file of the same objects, each with an etag, and the URIs of those with an unknown one.

    Objects without an etag are looked up: in the listing of their folder, or one by one on web servers and in
    folders that can't be listed. An object that doesn't exist gets an empty etag. So does one whose server
    stays busy for longer than the patience; its URI is returned, because with another etag the object would
    be encoded again. Raises StoreDownError if S3 doesn't answer.
    """
    with database(folder) as sql:
        view(sql, "objects", objects)
        sql.execute(_LACKING)
        if not number(sql, "SELECT count(*) FROM lacking"):
            return objects, []
        refused: list[str] = []
        folders = sql.execute("SELECT DISTINCT folder FROM lacking WHERE NOT web")
        listed = spill(_listed(_strings(folders), store, refused), _SCHEMA, folder / "listed-etags.parquet")
        sql.register("refused", pa.table({"folder": pa.array(refused, pa.string())}))
        uris = sql.execute("SELECT DISTINCT uri FROM lacking WHERE web OR folder IN (FROM refused)")
        asked = spill(_asked(_strings(uris), store), _SCHEMA, folder / "asked-etags.parquet")
        view(sql, "listed", listed)
        view(sql, "asked", asked)
        filled = write(sql, _FILLED, folder / "filled.parquet")
        failed = sql.execute("SELECT uri FROM asked WHERE failed ORDER BY uri").fetchall()
        return filled, [uri for (uri,) in failed]


# A folder keeps its last slash, as `a//b` and `a/b` are in two folders.
_LACKING = r"""
    CREATE VIEW lacking AS SELECT uri, regexp_replace(uri, '[^/]*$', '') AS folder,
    starts_with(uri, 'https://') OR starts_with(uri, 'http://') AS web FROM objects WHERE etag IS NULL
"""

_FILLED = """
    SELECT objects.* REPLACE (coalesce(objects.etag, listed.etag, asked.etag, '') AS etag)
    FROM objects LEFT JOIN listed USING (uri) LEFT JOIN asked USING (uri)
"""


def _listed(folders: Iterator[list[str]], store: Store, refused: list[str]) -> Iterator[pa.Table]:
    for some in folders:
        for page in list_pages(some, store, descend=False, refused=refused.append):
            yield _table([(info.uri, info.etag, False) for info in page.objects])


def _asked(uris: Iterator[list[str]], store: Store) -> Iterator[pa.Table]:
    for some in uris:
        yield _table(list(mapped_ahead(partial(_ask, store=store), some, _REQUESTS)))


def _ask(uri: str, store: Store) -> Row:
    try:
        return uri, store.etag(uri), False
    except StoreDownError:
        if not is_web(uri):
            raise
        return uri, None, True
    except StorageError:
        return uri, None, False  # an attempt to read the object will say why


def _table(rows: list[Row]) -> pa.Table:
    return pa.table([[row[column] for row in rows] for column in range(3)], schema=_SCHEMA)


def _strings(answer: duckdb.DuckDBPyConnection) -> Iterator[list[str]]:
    while some := answer.fetchmany(_BATCH):
        yield [row[0] for row in some]
