"""Objects that pictures are cut from, open for some time: one header serves all chips of a scene."""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipelines.errors import ReplacedError
from pipelines.imagery.pixels import PixelSpec, with_own_range
from pipelines.imagery.ranged import is_tiff
from pipelines.imagery.raster import Raster, open_raster
from pipelines.storage.ranges import FOR_PICTURES, ObjectRanges
from pipelines.storage.store import Store


@dataclass
class _Source:
    """One version of an object. Whoever opens it first holds the lock until its first picture is read."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    content: bytes | ObjectRanges | None = None
    is_checked: bool = False
    failure: Exception | None = None
    """Why it can't be read: also for all who waited meanwhile."""
    ranged: dict[PixelSpec, PixelSpec] = field(default_factory=dict)
    """Pixel specs with the scene's own percentiles as their range."""

    @property
    def held_bytes(self) -> int:
        if self.content is None:
            return 0
        return len(self.content) if isinstance(self.content, bytes) else self.content.held_bytes


class PictureSources:
    """Opens versions of objects as rasters, and keeps what was read of them. Threads may share it."""

    def __init__(self, store: Store, most_bytes: int) -> None:
        """``most_bytes``: what is kept of all objects; those used longest ago are forgotten first."""
        self._store, self._most_bytes = store, most_bytes
        self._lock = threading.Lock()
        self._sources: OrderedDict[tuple[str, str], _Source] = OrderedDict()

    @contextmanager
    def opened(self, uri: str, etag: str, pixels: PixelSpec) -> Iterator[tuple[Raster, PixelSpec]]:
        """Yield an object as a raster, and the pixels with its own range if they ask for percentiles.

        ``etag``: the object's when it was encoded. Another version of it is never opened.
        Raises what `Store.open_version` and `open_raster` raise.
        """
        key = uri, etag
        with self._lock:
            source = self._sources.setdefault(key, _Source())
            self._sources.move_to_end(key)
        with ExitStack() as stack:
            _wait_until_checked(source, stack)
            if source.is_checked:  # all who waited go on at the same time
                stack.close()
            try:
                dataset = stack.enter_context(self._open(source, uri, etag))
                if pixels not in source.ranged:
                    source.ranged[pixels] = with_own_range(dataset, pixels)
                yield dataset, source.ranged[pixels]
                source.is_checked = True
            except BaseException:
                with self._lock:  # the next one looks anew
                    if self._sources.get(key) is source:
                        del self._sources[key]
                raise
        self._limit()

    @contextmanager
    def _open(self, source: _Source, uri: str, etag: str) -> Iterator[Raster]:
        with ExitStack() as stack:
            try:
                if source.content is None:
                    source.content = _read(uri, etag, self._store)
                dataset = stack.enter_context(open_raster(source.content, is_checked=source.is_checked))
            except Exception as error:
                source.failure = error
                raise
            yield dataset

    def _limit(self) -> None:
        with self._lock:
            held = sum(source.held_bytes for source in self._sources.values())
            while held > self._most_bytes:
                held -= self._sources.popitem(last=False)[1].held_bytes


def _wait_until_checked(source: _Source, stack: ExitStack) -> None:
    """Hold the lock of a source that nobody has opened yet. Raises what opening it has failed with."""
    if not source.is_checked:
        stack.enter_context(source.lock)
    if source.failure is not None:
        raise source.failure


def _read(uri: str, etag: str, store: Store) -> bytes | ObjectRanges:
    """Return an object's content, or ranges of it. Raises ReplacedError if another version was encoded."""
    content = store.open_version(uri, etag, FOR_PICTURES)
    if isinstance(content, ObjectRanges) and not is_tiff(content.read([(0, 4)])[0]):
        (content,) = content.read([(0, content.size)])
    if urlsplit(uri).scheme in ("http", "https"):
        # asked after reading, so that an object replaced before is noticed
        now = content.etag if isinstance(content, ObjectRanges) else store.etag(uri)
        if now and now != etag and _form(now) == _form(etag):
            raise ReplacedError(f"{uri} was replaced since it was encoded: its etag is {now}, not {etag}")
    return content


def _form(etag: str) -> str:
    """Return an etag's form. Etags of different forms come from different servers and can't be compared."""
    is_hash = re.fullmatch("[0-9a-fA-F]+", etag) is not None
    return f"a hash of {len(etag)} digits" if is_hash else re.sub("[0-9a-fA-F]+", "0", etag)
