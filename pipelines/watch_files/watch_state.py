"""The files of a watch: `<name>.json`, its state in `<name>.state.json`, and the image of its example.

docs/guide/watch.md specifies them.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from model.spec import Compare
from pipelines.api.requests import Filters
from pipelines.api.watches import Hit, Key, WatchExample, WatchSummary
from pipelines.errors import ConfigError
from pipelines.storage.store import ABSENT, Store
from pipelines.table.pointer import Published

_STATE = ".state.json"
_WATCH = ".json"


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Object = TypeVar("_Object", bound=_Stored)


class ExampleCodes(_Stored):
    """An example's codes by one model."""

    model_id: str
    codes: tuple[str, ...]
    """Hex digits: one code for each chip, or a single one"""


class SeenVersion(_Stored):
    """The newest version of one model's codes that a watch has looked at."""

    table_id: str = ""
    """Delta Lake's id of the table; empty in files from before this field existed"""
    version: int
    encoded_until: datetime | None
    """When the version's newest row was encoded"""

    @classmethod
    def of(cls, published: Published) -> "SeenVersion":
        """Return the version of a publication."""
        return cls(
            table_id=published.table_id,
            version=published.table_version,
            encoded_until=published.encoded_until,
        )

    def is_of_table(self, published: Published) -> bool:
        """Return whether it is a version of the published table, not of an earlier one at the same URI."""
        return "" in (self.table_id, published.table_id) or self.table_id == published.table_id


class Progress(_Stored):
    """How far a watch has come."""

    publication: int
    """Number of the newest publication that it has looked at; 0: none yet"""
    looked: dict[str, SeenVersion]
    """The versions that it has looked at, by model id"""
    example: ExampleCodes


class Watch(_Stored):
    """A saved query."""

    format_version: Literal[1, 2] = 2
    """Version 1 had neither compare nor kind_weight"""
    name: str
    table: str
    example: WatchExample
    max_distance: int
    compare: Compare = "both"
    kind_weight: int | None = None
    """None: as the model that is published at each run says"""
    filters: Filters
    notes: str
    created_at: AwareDatetime
    start: Progress
    """Where its first run begins"""


class State(_Stored):
    """What the runs of a watch have done so far."""

    format_version: Literal[1] = 1
    created_at: AwareDatetime
    """The watch's ``created_at``: the state of an earlier watch of the same name is ignored"""
    ran_at: AwareDatetime | None = None
    progress: Progress
    reported: tuple[Key, ...] = ()
    """All hits so far"""
    undelivered: tuple[Hit, ...] = ()
    """The hits of the newest publication, if their files may not have been written yet"""


def summary_of(watch: Watch, state: State) -> WatchSummary:
    """Return what people see of a watch."""
    kept = {field: getattr(watch, field) for field in WatchSummary.model_fields if hasattr(watch, field)}
    return WatchSummary(
        **kept,
        ran_at=state.ran_at,
        publication=state.progress.publication,
        model_id=state.progress.example.model_id,
        hits=len(state.reported),
    )


def watch_names(folder: str, store: Store) -> list[str]:
    """Return the names of all watches, sorted. Raises StorageError if the folder can't be listed."""
    return names_in(found.uri for found in store.list(folder, recursive=False))


def names_in(uris: Iterable[str]) -> list[str]:
    """Return the names of the watches among some files, sorted."""
    names = (uri.rpartition("/")[2] for uri in uris)
    return sorted(
        name.removesuffix(_WATCH) for name in names if name.endswith(_WATCH) and not name.endswith(_STATE)
    )


def read_watch(folder: str, name: str, store: Store) -> Watch:
    """Return a watch. Raises ConfigError if there is no such watch, or its file isn't valid."""
    try:
        return _parse(Watch, watch_uri(folder, name), store.read(watch_uri(folder, name)))
    except FileNotFoundError as error:
        raise ConfigError(f"no watch {name} at {folder}; jobs.watch list shows all") from error


def read_state(folder: str, watch: Watch, store: Store) -> tuple[State, str]:
    """Return a watch's state, and the etag for `write_state`. Raises ConfigError if the file isn't valid."""
    fresh = State(created_at=watch.created_at, progress=watch.start)
    uri = state_uri(folder, watch.name)
    try:
        content, etag = store.read_with_etag(uri)
    except FileNotFoundError:
        return fresh, ABSENT
    state = _parse(State, uri, content)
    return (state if state.created_at == watch.created_at else fresh), etag


def write_state(folder: str, watch: Watch, state: State, etag: str, store: Store) -> None:
    """Replace a watch's state. Raises ConflictError if another run has replaced it since it was read."""
    store.write_if_match(state_uri(folder, watch.name), state.model_dump_json().encode(), etag)


def watch_uri(folder: str, name: str) -> str:
    """Return the URI of a watch."""
    return f"{folder.rstrip('/')}/{name}{_WATCH}"


def state_uri(folder: str, name: str) -> str:
    """Return the URI of a watch's state."""
    return f"{folder.rstrip('/')}/{name}{_STATE}"


def image_uri(folder: str, image: str) -> str:
    """Return the URI of an example's image."""
    return f"{folder.rstrip('/')}/{image}"


def _parse(kind: type[_Object], uri: str, content: bytes) -> _Object:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problem = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise ConfigError(
            f"{uri} isn't what this version keeps: {problem}; add the watch again with --replace"
        ) from error
