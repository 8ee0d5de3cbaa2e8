"""Objects opened ahead of their decoding: many requests at a time, a bounded number of bytes in memory."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial

from pipelines.runtime.threads import mapped_ahead
from pipelines.storage.ranges import FOR_CHIPS, ObjectRanges
from pipelines.storage.store import Store
from pipelines.uris import is_web

OBJECTS_AHEAD = 32
"""Objects that wait to be decoded: at 40 ms a request, 800 objects a second.

Each holds `FOR_CHIPS.whole` bytes at most: a larger one waits with its beginning in memory.
"""
_FROM_THE_WEB = 4  # objects ahead: others use these servers too, and some of them send any object whole

Listed = Mapping[str, object]
"""What a source says of an object: uri and etag, and more."""
Opened = bytes | ObjectRanges | Exception
"""An object's content, or ranges of it if it is large, or why there is none."""


def opened(objects: Sequence[Listed], store: Store) -> Generator[tuple[Listed, Opened], None, None]:
    """Yield each object, in order, with the version that was listed (`Store.open_version`).

    In its place comes a FileNotFoundError, a StorageError (a ReplacedError if another version is there now:
    the next night lists and encodes that), or whatever else went wrong.
    """
    ahead = _FROM_THE_WEB if any(is_web(str(each["uri"])) for each in objects) else OBJECTS_AHEAD
    with closing(mapped_ahead(partial(_open, store=store), objects, ahead)) as found:
        yield from zip(objects, found, strict=True)


def _open(listed: Listed, store: Store) -> Opened:
    uri = str(listed["uri"])
    try:
        return store.open_version(uri, str(listed["etag"]), FOR_CHIPS)
    except FileNotFoundError:
        return FileNotFoundError(f"{uri} has gone since it was listed")
    except Exception as error:  # noqa: BLE001 - it costs this object, not the others
        return error
