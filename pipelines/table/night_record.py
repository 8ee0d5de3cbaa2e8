"""How the last night of a table ended: `_night.json` beside the pointer, for monitoring.

A night's own metrics end with its process, and a night that publishes nothing leaves no other trace.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import TableError
from pipelines.storage.store import Store

RECORD = "_night.json"

Outcome = Literal["published", "nothing_new", "gate_failed", "broken_off"]


class NightRecord(BaseModel):
    """The content of ``_night.json`` in the table's root."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    run_id: str
    started_at: datetime
    ended_at: datetime
    outcome: Outcome
    reason: str = ""
    """Why nothing was published: the checks that failed, or the error that broke the night off."""
    figures: dict[str, float] = {}
    """The figures of the night's report, by their names in MLflow; empty if the night broke off."""


def write_night(table_uri: str, store: Store, night: NightRecord) -> None:
    """Write a night's record over the last one. Raises StorageError."""
    store.write(_uri(table_uri), night.model_dump_json(indent=2).encode())


def find_night(table_uri: str, store: Store) -> NightRecord | None:
    """Return the last night's record, None if no night has ended. Raises TableError if it can't be read."""
    try:
        content = store.read(_uri(table_uri))
    except FileNotFoundError:
        return None
    try:
        return NightRecord.model_validate_json(content)
    except ValidationError as error:
        raise TableError(f"{_uri(table_uri)} isn't a record that this version reads: {error}") from error


def _uri(table_uri: str) -> str:
    return f"{table_uri.rstrip('/')}/{RECORD}"
