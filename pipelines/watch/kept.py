"""Watches as they are kept in a folder: `<name>.json`, `<name>.state.json`, and the image of an example.

docs/operations/watches.md specifies them.
"""

from datetime import datetime
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from model.spec import Compare
from pipelines.api.requests import Filters
from pipelines.errors import ConfigError
from pipelines.storage.store import ABSENT, Store
from pipelines.table.pointer import Published
from pipelines.watch.hits import Hit, Key

_STATE = ".state.json"
_WATCH = ".json"


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Object = TypeVar("_Object", bound=_Kept)


class Example(_Kept):
    """What is looked for: one of the three."""

    chip_ids: tuple[str, ...] = ()
    code: str | None = None
    """Hex digits; of the model that was published when the watch was added."""
    image: str | None = None
    """Name of the object, beside the watch, that holds the image."""


class ExampleCodes(_Kept):
    """An example as one model sees it."""

    model_id: str
    codes: tuple[str, ...]
    """Hex digits, one for each chip."""


class Looked(_Kept):
    """The newest version of the table, of one model, that a watch has looked at."""

    table_id: str = ""
    """Delta's id of the table; empty in what was kept before it was."""
    version: int
    encoded_until: datetime | None
    """When its newest row was encoded."""

    @classmethod
    def of(cls, published: Published) -> "Looked":
        """Return what a publication is remembered by."""
        return cls(
            table_id=published.table_id,
            version=published.table_version,
            encoded_until=published.encoded_until,
        )

    def is_of_table(self, published: Published) -> bool:
        """Return whether it is of a publication's table, and not of one that lay there before."""
        return "" in (self.table_id, published.table_id) or self.table_id == published.table_id


class Progress(_Kept):
    """How far a watch has come."""

    publication: int
    """Number of the newest publication that it has looked at; 0: none yet."""
    looked: dict[str, Looked]
    """By model id."""
    example: ExampleCodes


class Watch(_Kept):
    """A saved query."""

    format_version: Literal[1, 2] = 2
    """A watch of version 1 says nothing of compare and kind_weight."""
    name: str
    table: str
    example: Example
    max_distance: int
    compare: Compare = "both"
    kind_weight: int | None = None
    """None: the weights of whichever model is published."""
    filters: Filters
    notes: str
    created_at: AwareDatetime
    start: Progress
    """From where it goes on with its first run."""


class State(_Kept):
    """What a watch's runs have come to."""

    format_version: Literal[1] = 1
    created_at: AwareDatetime
    """The watch's: the state of another watch that had the same name doesn't count."""
    ran_at: AwareDatetime | None = None
    progress: Progress
    reported: tuple[Key, ...] = ()
    """All hits so far."""
    undelivered: tuple[Hit, ...] = ()
    """Those of them, of one publication, whose files may not have been written yet."""


def watch_names(folder: str, store: Store) -> list[str]:
    """Return the names of all watches. Raises StorageError where the folder can't be listed."""
    names = (found.uri.rpartition("/")[2] for found in store.list(folder, recursive=False))
    return sorted(
        name.removesuffix(_WATCH) for name in names if name.endswith(_WATCH) and not name.endswith(_STATE)
    )


def read_watch(folder: str, name: str, store: Store) -> Watch:
    """Return a watch. Raises ConfigError where there is no such watch, or it can't be understood."""
    try:
        return _parse(Watch, watch_uri(folder, name), store.read(watch_uri(folder, name)))
    except FileNotFoundError as error:
        raise ConfigError(f"no watch {name} at {folder}; jobs.watch list shows all") from error


def read_state(folder: str, watch: Watch, store: Store) -> tuple[State, str]:
    """Return a watch's state, and the etag to replace it with. Raises ConfigError on one that is no state."""
    fresh = State(created_at=watch.created_at, progress=watch.start)
    uri = state_uri(folder, watch.name)
    try:
        content, etag = store.read_with_etag(uri)
    except FileNotFoundError:
        return fresh, ABSENT
    state = _parse(State, uri, content)
    return (state if state.created_at == watch.created_at else fresh), etag


def write_state(folder: str, watch: Watch, state: State, etag: str, store: Store) -> None:
    """Replace a watch's state. Raises ConflictError where another run has replaced it since it was read."""
    store.write_if_match(state_uri(folder, watch.name), state.model_dump_json().encode(), etag)


def watch_uri(folder: str, name: str) -> str:
    """Return where a watch is kept."""
    return f"{folder.rstrip('/')}/{name}{_WATCH}"


def state_uri(folder: str, name: str) -> str:
    """Return where a watch's state is kept."""
    return f"{folder.rstrip('/')}/{name}{_STATE}"


def image_uri(folder: str, image: str) -> str:
    """Return where an example's image is kept."""
    return f"{folder.rstrip('/')}/{image}"


def _parse(kind: type[_Object], uri: str, content: bytes) -> _Object:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problem = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise ConfigError(
            f"{uri} isn't what this version keeps: {problem}; add the watch again with --replace"
        ) from error
