"""`GET /v1/base-map`: an operator's own base map for the page, a PMTiles archive, a range of bytes at a time.

Sources: PMTiles specification, version 3; RFC 9110, 14 (ranges of bytes).
"""

import logging
import re
import time
from typing import Annotated

from fastapi import APIRouter, Header, Response

from pipelines.errors import ReplacedError, StorageError
from pipelines.serve.config import ServeConfig
from pipelines.serve.pools import WorkPool
from pipelines.serve.refusals import Refusal, RefusedRequest
from pipelines.storage.ranges import ObjectRanges, Reading
from pipelines.storage.store import Store

_MOST_BYTES = 16 << 20
"""Bytes of a range that are sent at most; directories and tiles are far smaller."""
_HEADER_BYTES = 16 << 10  # that all readers of such archives ask for first
_FOR_MAPS = Reading(first=_HEADER_BYTES, whole=0, keep=32 << 20, ahead=0)
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")
_READING = WorkPool("base-map", 4, 32)  # threads of its own, so that no search waits for the store
_TYPE = "application/vnd.pmtiles"
_RESPONSES: dict[int | str, dict[str, object]] = {
    206: {
        "description": "The bytes of the range",
        "content": {_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}

_NONE = Refusal(404, "no_base_map", "this service has no base map", "its operator can give one: --base-map")
_NO_RANGE = Refusal(
    416,
    "range_needed",
    "the base map is sent in ranges of bytes that lie within it",
    "ask for one with a header such as Range: bytes=0-16383",
)
_UNAVAILABLE = Refusal(
    503, "base_map_unavailable", "the base map can't be read", "try again, or ask the service's operator"
)

_logger = logging.getLogger("ray.serve")


class BaseMap:
    """A PMTiles archive in a store. Threads may share it."""

    def __init__(self, uri: str, store: Store, poll_seconds: float) -> None:
        """``poll_seconds``: how often to look for a newer archive at the same place."""
        self._uri, self._store, self._poll_seconds = uri, store, poll_seconds
        self._opened: tuple[float, ObjectRanges] | None = None

    @classmethod
    def of(cls, config: ServeConfig) -> "BaseMap | None":
        """Return the base map of a service, None if it has none."""
        if config.base_map is None:
            return None
        return cls(config.base_map, Store(config.store), config.poll_seconds)

    def read(self, start: int, stop: int) -> tuple[bytes, str, int]:
        """Return a range, the archive's etag, and its size [bytes]. ``stop`` isn't part of the range.

        Raises FileNotFoundError, StorageError.
        """
        opened = self._current()
        try:
            (part,) = opened.read([(start, stop)])
        except ReplacedError:  # a reader sees by the etag that what it has isn't of this archive
            opened = self._open()
            (part,) = opened.read([(start, stop)])
        return part, opened.etag, opened.size

    def _current(self) -> ObjectRanges:
        if self._opened is None:
            return self._open()
        looked, opened = self._opened
        if time.monotonic() - looked < self._poll_seconds:
            return opened
        newest = self._open()
        if newest.etag != opened.etag:
            return newest
        self._opened = time.monotonic(), opened  # what it has read is kept
        return opened

    def _open(self) -> ObjectRanges:
        opened = self._store.open_ranges(self._uri, _FOR_MAPS)
        self._opened = time.monotonic(), opened
        return opened


class BaseMapRoutes:
    """The route of the base map."""

    def __init__(self, base_map: BaseMap | None) -> None:
        """``base_map``: None if the service has none."""
        self._base_map = base_map

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        router.get("/v1/base-map", status_code=206, responses=_RESPONSES, response_class=Response)(self.part)

    async def part(self, byte_range: Annotated[str | None, Header(alias="Range")] = None) -> Response:
        """Return a range of bytes of the operator's base map, a PMTiles archive."""
        if self._base_map is None:
            raise RefusedRequest(_NONE)
        wanted = _RANGE.fullmatch(byte_range or "")
        if wanted is None:
            raise RefusedRequest(_NO_RANGE)
        start = int(wanted[1])
        last = int(wanted[2]) if wanted[2] else start + _MOST_BYTES
        stop = min(last + 1, start + _MOST_BYTES)
        try:
            part, etag, size = await _READING.run(self._base_map.read, start, stop)
        except (FileNotFoundError, StorageError) as error:
            _logger.warning("the base map can't be read: %s", error)
            raise RefusedRequest(_UNAVAILABLE) from error
        if not part:
            raise RefusedRequest(_NO_RANGE)
        headers = {
            "Content-Range": f"bytes {start}-{start + len(part) - 1}/{size}",
            "Accept-Ranges": "bytes",
            "ETag": f'"{etag}"',
            "Cache-Control": "private, max-age=60",
        }
        return Response(part, 206, headers, media_type=_TYPE)
