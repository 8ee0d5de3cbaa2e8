"""Etags of objects whose source gives none: the store's own."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.errors import StorageError
from pipelines.sources.prefix import list_pages
from pipelines.spill import database, number, spill, view, write
from pipelines.storage import Store
from pipelines.threads import mapped_ahead

_SCHEMA = pa.schema([("uri", pa.string()), ("etag", pa.string())])
_FOLDERS = 10_000  # whose listings are asked for together
_REQUESTS = 16


def fill_etags(objects: Path, folder: Path, store: Store) -> Path:
    """Return a file of the same objects, each with an etag; an object that isn't there has an empty one.

    The folders of the objects that lack one are listed, a web server is asked for each.
    """
    with database(folder) as sql:
        view(sql, "objects", objects)
        sql.execute(_LACKING)
        if not number(sql, "SELECT count(*) FROM lacking"):
            return objects
        folders = sql.execute("SELECT DISTINCT folder FROM lacking WHERE NOT web")
        listed = spill(_listed(_strings(folders), store), _SCHEMA, folder / "listed-etags.parquet")
        uris = sql.execute("SELECT DISTINCT uri FROM lacking WHERE web")
        asked = spill(_asked(_strings(uris), store), _SCHEMA, folder / "asked-etags.parquet")
        view(sql, "listed", listed)
        view(sql, "asked", asked)
        return write(sql, _FILLED, folder / "filled.parquet")


_LACKING = r"""
    CREATE VIEW lacking AS SELECT uri, regexp_replace(uri, '/[^/]*$', '') AS folder,
    starts_with(uri, 'https://') OR starts_with(uri, 'http://') AS web FROM objects WHERE etag IS NULL
"""

_FILLED = """
    SELECT objects.* REPLACE (coalesce(objects.etag, listed.etag, asked.etag, '') AS etag)
    FROM objects LEFT JOIN listed USING (uri) LEFT JOIN asked USING (uri)
"""


def _listed(folders: Iterator[list[str]], store: Store) -> Iterator[pa.Table]:
    for some in folders:
        for page in list_pages(some, store, descend=False):
            yield _table([(info.uri, info.etag) for info in page.objects])


def _asked(uris: Iterator[list[str]], store: Store) -> Iterator[pa.Table]:
    for some in uris:
        found = mapped_ahead(partial(_etag, store=store), some, _REQUESTS)
        yield _table(list(zip(some, found, strict=True)))


def _etag(uri: str, store: Store) -> str | None:
    try:
        return store.etag(uri)
    except StorageError:
        return None  # why is told when the object is read


def _table(rows: list[tuple[str, str | None]]) -> pa.Table:
    return pa.table([[row[column] for row in rows] for column in (0, 1)], schema=_SCHEMA)


def _strings(answer: duckdb.DuckDBPyConnection) -> Iterator[list[str]]:
    while some := answer.fetchmany(_FOLDERS):
        yield [row[0] for row in some]
