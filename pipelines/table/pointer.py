"""The published pointer: which version of a table, of which model, is good to serve; and what was before.

`_published.json` is what is served. Before it moves, what it says is kept as `_published/<number>.json`.
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
    """1, 2, 3 ... in the order of publishing; `publish` gives it."""
    table_id: str = ""
    """Delta's id of the table. Empty in what was published before it was kept: that is the present one's."""
    table_version: int
    model_id: str
    bundle_uri: str
    run_id: str
    """Of the run that published it."""
    published_at: datetime
    gate: dict[str, float]
    """The gate's figures, by name."""
    failed_checks: tuple[str, ...] = ()
    """What the gate had against it, where it was published by force."""
    restores: int | None = None
    """The number of the publication that a rollback went back to."""
    bits_on: tuple[float, ...] = ()
    """Share of the chips that have bit k on; the next version's drift is measured from here."""
    encoded_until: datetime | None = None
    """When the newest row was encoded; the next version's new chips are those encoded later."""
    highest_versions: dict[str, int] = {}
    """The highest version published so far, by model id; `publish` gives it."""

    def is_of_table(self, table_id: str) -> bool:
        """Return whether it names a version of this table, and not of one that lay at the URI before."""
        return self.table_id in ("", table_id)


def read_pointer(table_uri: str, store: Store) -> Published:
    """Return what is published. Raises TableError where nothing is, or the pointer can't be understood."""
    published = find_pointer(table_uri, store)
    if published is None:
        raise TableError(f"nothing is published at {table_uri}; run jobs.nightly first, or check --table")
    return published


def find_pointer(table_uri: str, store: Store) -> Published | None:
    """Return what is published, or None. Raises TableError where the pointer can't be understood."""
    return _find(_uri(table_uri), store)[0]


def publish(table_uri: str, store: Store, published: Published, after: Published | None) -> Published:
    """Move the pointer from ``after`` (None: nothing is published yet); return it with its number.

    Raises ConflictError where somebody else has moved it from there.
    """
    current, etag = _find(_uri(table_uri), store)
    if current != after:
        raise ConflictError(f"{_uri(table_uri)} was changed by somebody else; nothing was published")
    if current:
        # before the pointer moves, not after: nothing is lost in between, and writing it twice is harmless
        store.write(_entry_uri(table_uri, current.number), current.model_dump_json(indent=2).encode())
    is_same_table = current is not None and current.is_of_table(published.table_id)
    highest = dict(current.highest_versions) if current and is_same_table else {}
    highest[published.model_id] = max(published.table_version, highest.get(published.model_id, 0))
    number = current.number + 1 if current else 1
    news = published.model_copy(update={"number": number, "highest_versions": highest})
    try:
        store.write_if_match(_uri(table_uri), news.model_dump_json(indent=2).encode(), etag)
    except ConflictError:
        if find_pointer(table_uri, store) != news:  # else the answer was lost, and it was this very call
            raise
    return news


def publications(table_uri: str, store: Store) -> Iterator[Published]:
    """Yield what is published and what was, newest first; each is read when it is asked for.

    Raises TableError where one is missing or can't be understood.
    """
    current = find_pointer(table_uri, store)
    if current is None:
        return
    yield current
    for number in range(current.number - 1, 0, -1):
        yield read_publication(table_uri, store, number)


def read_publication(table_uri: str, store: Store, number: int) -> Published:
    """Return a publication before the present one. Raises TableError where it is missing or torn."""
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
