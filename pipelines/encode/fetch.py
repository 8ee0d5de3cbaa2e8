"""Objects fetched ahead of their decoding: many requests at a time, a bounded number of bytes in memory."""

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from functools import partial

from pipelines.runtime.threads import mapped_ahead
from pipelines.storage.store import Store
from pipelines.uris import is_web

OBJECTS_AHEAD = 32
"""Requests at a time: at 40 ms each, 800 objects a second."""
BYTES_AHEAD = 256 << 20
"""Most bytes of objects that are fetched and wait to be decoded; one alone may be larger."""
_FROM_THE_WEB = threading.BoundedSemaphore(4)  # requests of a process at a time: others use these servers too

Listed = Mapping[str, object]
"""What a source says of an object: uri and etag, and more."""


def fetched(
    objects: Sequence[Listed], store: Store
) -> Generator[tuple[Listed, bytes | Exception], None, None]:
    """Yield each object, in order, with the content of the version that was listed, or why there is none.

    The reason is a FileNotFoundError, a StorageError (a ReplacedError if another version is there now: the
    next night lists and encodes that), or whatever else went wrong.
    """
    room = _Room(BYTES_AHEAD)
    work = partial(_fetch, store=store, room=room)
    with closing(mapped_ahead(work, enumerate(objects), OBJECTS_AHEAD)) as contents:
        try:
            for listed, (size, content) in zip(objects, contents, strict=True):
                room.leave(size)  # the next one can come while this one is decoded, however large both are
                yield listed, content
        finally:
            room.open_to_all()  # else the threads would wait for ever


def _fetch(item: tuple[int, Listed], store: Store, room: "_Room") -> tuple[int, bytes | Exception]:
    """Return how much room an object takes [bytes], and its content."""
    turn, listed = item
    uri, sizes = str(listed["uri"]), list[int]()

    def admit(size: int) -> None:
        sizes.append(size)
        room.enter(turn, size)

    content: bytes | Exception
    try:
        with _FROM_THE_WEB if is_web(uri) else nullcontext():
            content = store.read_version(uri, str(listed["etag"]), admit)
    except FileNotFoundError:
        content = FileNotFoundError(f"{uri} has gone since it was listed")
    except Exception as error:  # noqa: BLE001 - it costs this object, not the others
        content = error
    if not sizes:  # nobody knew it before
        admit(len(content) if isinstance(content, bytes) else 0)
    return sizes[0], content


class _Room:
    """Room for a number of bytes, which objects enter in their order: the first of them is never kept out."""

    def __init__(self, most: int) -> None:
        self._most, self._held, self._turn = most, 0, 0
        self._change = threading.Condition()

    def enter(self, turn: int, size: int) -> None:
        """Wait until all objects before this one have entered, and there is room for it or none is inside."""
        with self._change:
            self._change.wait_for(lambda: self._may_enter(turn, size))
            self._held += size
            self._turn += 1
            self._change.notify_all()

    def _may_enter(self, turn: int, size: int) -> bool:
        fits = not self._held or self._held + size <= self._most
        return self._most < 0 or (turn == self._turn and fits)

    def leave(self, size: int) -> None:
        """Give an object's bytes free."""
        with self._change:
            self._held -= size
            self._change.notify_all()

    def open_to_all(self) -> None:
        """Let nobody wait any longer."""
        with self._change:
            self._most = -1
            self._change.notify_all()
