"""The published pointer: which version of a table, of which model, is served; and what was served before.

`_published.json` names what is served. Before it is replaced, it is copied to `_published/<number>.json`.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from model.bundle import Manifest
from pipelines.errors import ConflictError, TableError
from pipelines.storage.store import ABSENT, Store

POINTER = "_published.json"
_HISTORY = "_published"


class Published(BaseModel):
    """The content of ``_published.json`` in the table's root."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    number: int = 0
    """1, 2, 3 ... in the order of publishing; set by `publish`."""
    table_id: str = ""
    """Delta's id of the table. Empty in old pointers, which are of the present table."""
    table_version: int
    model_id: str
    bundle_uri: str
    run_id: str
    """The run that published it."""
    published_at: datetime
    gate: dict[str, float]
    """The gate's figures, by name."""
    failed_checks: tuple[str, ...] = ()
    """The checks of the gate that failed, if it was published by force."""
    skipped_checks: tuple[str, ...] = ()
    """The checks that the gate couldn't make, and why."""
    restores: int | None = None
    """In a rollback: the number of the publication that it went back to."""
    bits_on: tuple[float, ...] = ()
    """For each bit the share of chips that have it on; the drift of the next version is measured from it."""
    encoded_until: datetime | None = None
    """When the newest row was encoded; chips encoded later are new in the next version."""
    highest_versions: dict[str, int] = {}
    """The highest version published so far, by model id; set by `publish`."""

    def is_of_table(self, table_id: str) -> bool:
        """Return whether it names a version of this table, not of an earlier table at the same URI."""
        return self.table_id in ("", table_id)


def read_pointer(table_uri: str, store: Store) -> Published:
    """Return the published pointer. Raises TableError if there is none or it can't be read."""
    published = find_pointer(table_uri, store)
    if published is None:
        raise TableError(f"nothing is published at {table_uri}; run jobs.nightly first, or check --table")
    return published


def find_pointer(table_uri: str, store: Store) -> Published | None:
    """Return the published pointer, None if there is none. Raises TableError if it can't be read."""
    return _find(_uri(table_uri), store)[0]


def publish(table_uri: str, store: Store, published: Published, after: Published | None) -> Published:
    """Replace the pointer ``after`` (None: nothing is published yet) by ``published``; return it, numbered.

    Raises ConflictError if another job has replaced ``after`` first.
    """
    current, etag = _find(_uri(table_uri), store)
    if current != after:
        raise ConflictError(f"{_uri(table_uri)} was changed by somebody else; nothing was published")
    if current:
        # copied first: a crash between the two writes loses nothing, and a second copy is harmless
        store.write(_entry_uri(table_uri, current.number), current.model_dump_json(indent=2).encode())
    is_same_table = current is not None and current.is_of_table(published.table_id)
    highest = dict(current.highest_versions) if current and is_same_table else {}
    highest[published.model_id] = max(published.table_version, highest.get(published.model_id, 0))
    number = current.number + 1 if current else 1
    news = published.model_copy(update={"number": number, "highest_versions": highest})
    try:
        store.write_if_match(_uri(table_uri), news.model_dump_json(indent=2).encode(), etag)
    except ConflictError:
        if find_pointer(table_uri, store) != news:  # else this very call wrote it, and its answer was lost
            raise
    return news


def publications(table_uri: str, store: Store) -> Iterator[Published]:
    """Yield all publications, newest first. Each is read only when the iterator comes to it.

    Raises TableError if one is missing or can't be read.
    """
    current = find_pointer(table_uri, store)
    if current is None:
        return
    yield current
    for number in range(current.number - 1, 0, -1):
        yield read_publication(table_uri, store, number)


def read_publication(table_uri: str, store: Store, number: int) -> Published:
    """Return an earlier publication by its number. Raises TableError if it is missing or can't be read."""
    entry = _find(_entry_uri(table_uri, number), store)[0]
    if entry is None:
        raise TableError(f"{_entry_uri(table_uri, number)} is missing: the history isn't whole")
    return entry


def check_model(published: Published, manifest: Manifest) -> None:
    """Raise TableError unless the bundle holds the model that the pointer names."""
    if manifest.model_id != published.model_id:
        raise TableError(
            f"the pointer names model {published.model_id}, but the bundle {published.bundle_uri} "
            f"is {manifest.model_id}; publish again with the bundle that the codes are from"
        )


def _uri(table_uri: str) -> str:
    return f"{table_uri.rstrip('/')}/{POINTER}"


def _entry_uri(table_uri: str, number: int) -> str:
    return f"{table_uri.rstrip('/')}/{_HISTORY}/{number:06}.json"


def _find(uri: str, store: Store) -> tuple[Published | None, str]:
    try:
        content, etag = store.read_with_etag(uri)
    except FileNotFoundError:
        return None, ABSENT
    try:
        return Published.model_validate_json(content), etag
    except ValidationError as error:
        raise TableError(f"{uri} isn't a pointer that this version reads: {error}") from error
