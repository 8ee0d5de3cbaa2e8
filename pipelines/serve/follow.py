"""Follows the published pointer: loads a new publication beside the old one, then swaps one reference."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from pipelines.errors import BundleError, ScenehashError, TableError, one_line
from pipelines.serve.config import ServeConfig
from pipelines.storage.store import Store
from pipelines.table.pointer import Published, publications, read_pointer

_PATIENCE_SECONDS = 2.0  # how long a request for a snapshot that isn't in memory waits for another load
_LISTING_SECONDS = 5.0  # least time between two listings of the last publications

_logger = logging.getLogger("ray.serve")


class HasPublication(Protocol):
    """Anything that was loaded from a publication."""

    @property
    def published(self) -> Published:
        """The publication that it was loaded from."""


Loaded = TypeVar("Loaded", bound=HasPublication)


@dataclass(frozen=True)
class RefusedPublication:
    """A publication that can't be loaded, and why."""

    published: Published
    reason: str


class Follower(Generic[Loaded]):
    """Keeps the last publications loaded, and looks for a newer one in a thread of its own."""

    current: Loaded
    """The one that is served. Read it once in each request: the next read may return a newer one"""
    refused: RefusedPublication | None = None
    """The newest publication, if it can't be loaded"""

    def __init__(
        self,
        config: ServeConfig,
        load: Callable[[Published, Sequence[Loaded]], Loaded],
        show: Callable[[Published, RefusedPublication | None], None],
    ) -> None:
        """Load the newest publication or, if that fails, the newest one before it that can be loaded.

        ``load(published, kept)`` loads a publication; ``kept`` is what is loaded already, the newest first.
        ``show(published, refused)`` is called after each look at the pointer. If none of the last
        publications can be loaded, raises what ``load`` raised for the newest. Raises TableError if nothing
        is published.
        """
        self._table_uri, self._store, self._config = config.table, Store(config.store), config
        self._load, self._show = load, show
        self._kept: dict[int, Loaded] = {}
        self._loading = threading.Lock()
        self._last: list[Published] = []
        self._listed_at = -_LISTING_SECONDS
        self._start()
        show(self.current.published, self.refused)
        threading.Thread(target=self._follow, name="pointer-follower", daemon=True).start()

    def _start(self) -> None:
        first: Exception | None = None
        for published in self._publications():
            try:
                self._take(published)
            except Exception as error:  # any error: the publication before it may be fine
                _logger.exception("publication %d of %s is refused", published.number, self._table_uri)
                first = first or error
                self.refused = self.refused or RefusedPublication(published, _reason(error))
            else:
                return
        if first:
            raise first

    @property
    def kept(self) -> list[Loaded]:
        """All that is loaded, the newest first."""
        return [loaded for _, loaded in sorted(self._kept.items(), reverse=True)]

    def look(self) -> None:
        """Read the pointer now, and load a new publication. If that fails, refuse it and keep the old one."""
        with self._loading:
            try:
                published = read_pointer(self._table_uri, self._store)
                if published == self.current.published:
                    self.refused = None
                    return
            except Exception:  # the store may be down: go on serving the old one
                _logger.exception("the pointer of %s can't be read; the old version stays", self._table_uri)
                return
            try:
                self._take(published)
            except Exception as error:  # whatever is published, go on serving the old one
                if self.refused is None or self.refused.published != published:
                    _logger.exception("publication %d of %s is refused", published.number, self._table_uri)
                self.refused = RefusedPublication(published, _reason(error))
                return
            self.refused = None
        _logger.info("now serving version %d of %s", published.table_version, self._table_uri)

    def find(self, wanted: Callable[[Published], bool]) -> Loaded | None:
        """Return the newest of the last publications that is ``wanted``, or None; load it if necessary.

        Raises TimeoutError if another one is being loaded for too long, or if it can't be loaded now.
        """
        held = self._held(wanted)
        if held is not None:
            return held
        if not self._loading.acquire(timeout=_PATIENCE_SECONDS):
            raise TimeoutError
        try:
            return self._held(wanted) or self._another(wanted)
        finally:
            self._loading.release()

    def _held(self, wanted: Callable[[Published], bool]) -> Loaded | None:
        return next((loaded for loaded in self.kept if wanted(loaded.published)), None)

    def _another(self, wanted: Callable[[Published], bool]) -> Loaded | None:
        """Load the newest wanted publication that isn't in memory; None if there is none any more.

        That may be what is published now: another replica has followed already, and its client asks for the
        next page here. Raises TimeoutError if it may be there later: the store is down, or the disk is full.
        """
        try:
            newest = read_pointer(self._table_uri, self._store)
            current = self.current.published
            if newest.number > current.number and newest.table_id == current.table_id and wanted(newest):
                self._take(newest)
                return self.current
            # not each time: clients may ask for versions that never existed
            if time.monotonic() - self._listed_at >= _LISTING_SECONDS:
                self._last, self._listed_at = list(self._publications()), time.monotonic()
            for published in self._last:
                if published.number < self.current.published.number and wanted(published):
                    self._keep(published)
                    return self._kept[published.number]
        except (TableError, BundleError):  # its files are gone
            _logger.exception("a publication of %s that is asked for can't be loaded", self._table_uri)
        except Exception as error:
            _logger.exception("a publication of %s that is asked for can't be loaded now", self._table_uri)
            raise TimeoutError from error
        return None

    def _publications(self) -> Iterator[Published]:
        """Yield the last publications, the newest first. Raises TableError if nothing is published."""
        yield read_pointer(self._table_uri, self._store)
        yield from islice(publications(self._table_uri, self._store), 1, self._config.kept_snapshots)

    def _take(self, published: Published) -> None:
        """Load a publication and make it the current one."""
        self._keep(published)
        self.current = self._kept[published.number]
        oldest = published.number - self._config.kept_snapshots
        # a table that is made anew counts publications from 1 again: drop those of the old table
        self._kept = {
            number: held
            for number, held in self._kept.items()
            if number > oldest and held.published.table_id == published.table_id
        }

    def _keep(self, published: Published) -> None:
        loaded = self._load(published, self.kept)
        # a new dict, because requests may be reading the old one
        self._kept = {**self._kept, published.number: loaded}

    def _follow(self) -> None:
        while True:
            time.sleep(self._config.poll_seconds)
            self.look()
            self._show(self.current.published, self.refused)


def _reason(error: Exception) -> str:
    """Return an error's message as one line, after its class if it isn't one of ours."""
    text = one_line(error)
    return text if isinstance(error, ScenehashError) else f"{type(error).__name__}: {text}"
