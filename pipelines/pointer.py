"""The published pointer: which version of a table, of which model, is good to serve."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import TableError
from pipelines.storage import ABSENT, Store

POINTER = "_published.json"


class Published(BaseModel):
    """The content of ``_published.json`` in the table's root."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    table_version: int
    model_id: str
    bundle_uri: str
    run_id: str
    published_at: datetime
    gate: dict[str, float]
    """The gate's figures, by name."""


def read_pointer(table_uri: str, store: Store) -> Published:
    """Return what is published. Raises TableError where nothing is, or the pointer can't be understood."""
    published = find_pointer(table_uri, store)
    if published is None:
        raise TableError(f"nothing is published at {table_uri}; run jobs.nightly first, or check --table")
    return published


def find_pointer(table_uri: str, store: Store) -> Published | None:
    """Return what is published, or None. Raises TableError where the pointer can't be understood."""
    return _read(table_uri, store)[0]


def publish(table_uri: str, store: Store, published: Published) -> None:
    """Move the pointer. Raises ConflictError where somebody else moved it at the same time."""
    _, etag = _read(table_uri, store)
    content = published.model_dump_json(indent=2).encode()
    store.write_if_match(_uri(table_uri), content, etag)


def _uri(table_uri: str) -> str:
    return f"{table_uri.rstrip('/')}/{POINTER}"


def _read(table_uri: str, store: Store) -> tuple[Published | None, str]:
    try:
        content, etag = store.read_with_etag(_uri(table_uri))
    except FileNotFoundError:
        return None, ABSENT
    try:
        return Published.model_validate_json(content), etag
    except ValidationError as error:
        raise TableError(f"{_uri(table_uri)} isn't a pointer that this version reads: {error}") from error
