"""Following the published pointer: load the new beside the old, then swap one reference."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from model.bundle import Manifest
from pipelines.errors import TableError
from pipelines.pointer import Published, read_pointer
from pipelines.serve.config import ServeConfig
from pipelines.storage import Store

_logger = logging.getLogger("ray.serve")

Loaded = TypeVar("Loaded")


class Follower(Generic[Loaded]):
    """Holds what was last loaded from the pointer, and looks for news in a thread of its own."""

    current: Loaded
    """Read it once a request: the next read may be of the next version."""

    def __init__(self, config: ServeConfig, load: Callable[[Published, Loaded | None], Loaded]) -> None:
        """Load what is published; ``load`` gets the pointer and what is held so far.

        Raises what ``read_pointer`` and ``load`` raise. Later failures are logged, and what is held stays.
        """
        self._table_uri, self._store = config.table, Store(config.store)
        self._poll_seconds = config.poll_seconds
        self._load = load
        self._published = read_pointer(self._table_uri, self._store)
        self.current = load(self._published, None)
        threading.Thread(target=self._follow, name="pointer-follower", daemon=True).start()

    def _follow(self) -> None:
        while True:
            time.sleep(self._poll_seconds)
            try:
                self._look()
            except Exception:  # the thread's edge: whatever is published, the old answers must go on
                _logger.exception("what is published at %s is refused; the old stays", self._table_uri)

    def _look(self) -> None:
        published = read_pointer(self._table_uri, self._store)
        if published != self._published:
            self.current = self._load(published, self.current)
            self._published = published
            _logger.info("now serving version %d of %s", published.table_version, self._table_uri)


def check_model(published: Published, manifest: Manifest) -> None:
    """Raise TableError unless the bundle holds the model that the pointer names."""
    if manifest.model_id != published.model_id:
        raise TableError(
            f"the pointer names model {published.model_id}, but the bundle {published.bundle_uri} "
            f"is {manifest.model_id}; publish again with the bundle that the codes are from"
        )
