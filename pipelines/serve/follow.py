"""Following the published pointer: load the new beside the old, then swap one reference."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from pipelines.errors import ScenehashError, one_line
from pipelines.serve.config import ServeConfig
from pipelines.storage.store import Store
from pipelines.table.pointer import Published, publications, read_pointer

_PATIENCE_SECONDS = 2.0  # of a request, where something is being loaded
_REST_SECONDS = 5.0  # between two listings of the last publications

_logger = logging.getLogger("ray.serve")


class Follows(Protocol):
    """What is loaded of a publication."""

    @property
    def published(self) -> Published:
        """The publication."""


Loaded = TypeVar("Loaded", bound=Follows)


@dataclass(frozen=True)
class Refused:
    """A publication that can't be loaded, and why."""

    published: Published
    reason: str


class Follower(Generic[Loaded]):
    """Holds what was loaded of the last publications, and looks for news in a thread of its own."""

    current: Loaded
    """Read it once a request: the next read may be of the next version."""
    refused: Refused | None = None
    """The newest publication, where it can't be loaded"""

    def __init__(
        self,
        config: ServeConfig,
        load: Callable[[Published, Sequence[Loaded]], Loaded],
        show: Callable[[Published, Refused | None], None],
    ) -> None:
        """Load what is published or, where that can't be, what was before it.

        ``load`` gets a publication and what is held so far, the newest first; ``show`` is told after each
        look for news what is served and what is refused. Raises what ``load`` raises of the newest
        publication where none of the last ones can be loaded, TableError where nothing is published.
        """
        self._table_uri, self._store, self._config = config.table, Store(config.store), config
        self._load, self._show = load, show
        self._kept: dict[int, Loaded] = {}
        self._loading = threading.Lock()
        self._last: list[Published] = []
        self._listed = -_REST_SECONDS
        self._start()
        show(self.current.published, self.refused)
        threading.Thread(target=self._follow, name="pointer-follower", daemon=True).start()

    def _start(self) -> None:
        first: Exception | None = None
        for published in self._publications():
            try:
                self._take(published)
            except Exception as error:  # whatever is wrong with it: the one before it may be sound
                _logger.exception("publication %d of %s is refused", published.number, self._table_uri)
                first = first or error
                self.refused = self.refused or Refused(published, _reason(error))
            else:
                return
        if first:
            raise first

    @property
    def kept(self) -> list[Loaded]:
        """What is held, the newest first."""
        return [loaded for _, loaded in sorted(self._kept.items(), reverse=True)]

    def look(self) -> None:
        """Look for news now; what can't be loaded is refused, and what is held stays."""
        with self._loading:
            try:
                published = read_pointer(self._table_uri, self._store)
                if published == self.current.published:
                    self.refused = None
                    return
            except Exception:  # the store may be down: the old answers must go on
                _logger.exception("%s has no pointer that can be read; the old stays", self._table_uri)
                return
            try:
                self._take(published)
            except Exception as error:  # whatever is published, the old answers must go on
                if self.refused is None or self.refused.published != published:
                    _logger.exception("publication %d of %s is refused", published.number, self._table_uri)
                self.refused = Refused(published, _reason(error))
                return
            self.refused = None
        _logger.info("now serving version %d of %s", published.table_version, self._table_uri)

    def find(self, wanted: Callable[[Published], bool]) -> Loaded | None:
        """Return the newest that is wanted of the last publications; one that isn't held yet is loaded.

        Raises TimeoutError where another is being loaded at this time.
        """
        held = self._held(wanted)
        if held is not None:
            return held
        if not self._loading.acquire(timeout=_PATIENCE_SECONDS):
            raise TimeoutError
        try:
            return self._held(wanted) or self._older(wanted)
        finally:
            self._loading.release()

    def _held(self, wanted: Callable[[Published], bool]) -> Loaded | None:
        return next((loaded for loaded in self.kept if wanted(loaded.published)), None)

    def _older(self, wanted: Callable[[Published], bool]) -> Loaded | None:
        """Return one that was published before the current one, within reach; loaded now."""
        try:
            if time.monotonic() - self._listed >= _REST_SECONDS:  # clients may ask for what never was
                self._last, self._listed = list(self._publications()), time.monotonic()
            for published in self._last:
                if published.number < self.current.published.number and wanted(published):
                    self._keep(published)
                    return self._kept[published.number]
        except Exception:  # a store that is down, a version that has lost files: it can't be had
            _logger.exception("an older publication of %s can't be loaded", self._table_uri)
        return None

    def _publications(self) -> Iterator[Published]:
        """Yield the last publications, the newest first. Raises TableError where there is none."""
        yield read_pointer(self._table_uri, self._store)
        yield from islice(publications(self._table_uri, self._store), 1, self._config.kept_snapshots)

    def _take(self, published: Published) -> None:
        """Load a publication and make it the current one."""
        self._keep(published)
        self.current = self._kept[published.number]
        oldest = published.number - self._config.kept_snapshots
        # numbers begin anew where the table was made anew: what is held of another table goes
        self._kept = {
            number: held
            for number, held in self._kept.items()
            if number > oldest and held.published.table_id == published.table_id
        }

    def _keep(self, published: Published) -> None:
        loaded = self._load(published, self.kept)
        self._kept = {**self._kept, published.number: loaded}  # a new one: requests read the old meanwhile

    def _follow(self) -> None:
        while True:
            time.sleep(self._config.poll_seconds)
            self.look()
            self._show(self.current.published, self.refused)


def _reason(error: Exception) -> str:
    """Return why in a line; of an error that isn't ours its kind as well."""
    text = one_line(error)
    return text if isinstance(error, ScenehashError) else f"{type(error).__name__}: {text}"
