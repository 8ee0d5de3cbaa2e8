"""`GET /v1/watches` and `GET /v1/watches/{name}/hits`: the watches, and what the nights have brought."""

import logging
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from pipelines.api.watches import NAME, HitsAnswer, HitsParameters, WatchesAnswer
from pipelines.errors import ReplacedError, StorageError, StoreDownError
from pipelines.serve.media import GEOJSON
from pipelines.serve.pools import WorkPool
from pipelines.serve.refusals import Refusal, RefusedRequest
from pipelines.serve.rendering import GeoJSON, json_response
from pipelines.serve.watches import Watches

WatchName = Annotated[str, Path(pattern=NAME)]

_READING = WorkPool("watches", 4, 16)  # threads of its own, so that no search waits for the store
_NONE_SHOWN = Refusal(
    404,
    "no_such_watch",
    "this service shows no watches",
    "its operator can start it with --watches and --watch-hits",
)
# without the store's own words: they name places that a searcher needn't know
_UNAVAILABLE = Refusal(
    503, "watches_unavailable", "the store of the watches doesn't answer", "try again in a moment"
)
_REFUSED = Refusal(
    502,
    "watches_refused",
    "the store of the watches refuses the service",
    "asking again won't help: let the service's operator look at its log",
)

_logger = logging.getLogger("ray.serve")


class WatchRoutes:
    """The routes: each reads files in a thread, and writes the answer there."""

    def __init__(self, watches: Watches | None) -> None:
        """``watches``: None if the service shows none."""
        self._watches = watches

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.get("/v1/watches", response_model=WatchesAnswer)(self.watches)
        router.get("/v1/watches/{name}/hits", response_model=HitsAnswer, response_class=GeoJSON)(self.hits)

    async def watches(self, request: Request) -> Response:
        """Return all watches, in the order of their names."""
        watches = self._watches
        if watches is None:
            return json_response({"configured": False, "watches": [], "unreadable": []}, request.headers)
        return await _read(lambda: json_response(watches.watches(), request.headers))

    async def hits(
        self, request: Request, name: WatchName, asked: Annotated[HitsParameters, Query()]
    ) -> Response:
        """Return a watch's hits: the newest publication first, the hits of one publication nearest first."""
        watches = self._watches
        if watches is None:
            raise RefusedRequest(_NONE_SHOWN)
        return await _read(lambda: json_response(watches.hits(name, asked), request.headers, GEOJSON))


async def _read(call: Callable[[], Response]) -> Response:
    """Return what a call returns that reads files of watches. Raises RefusedRequest."""
    try:
        return await _READING.run(call)
    except (StorageError, FileNotFoundError) as error:
        _logger.warning("watches can't be read: %s", error)
        # files may have been replaced or removed since they were listed
        is_passing = isinstance(error, StoreDownError | ReplacedError | FileNotFoundError)
        raise RefusedRequest(_UNAVAILABLE if is_passing else _REFUSED) from error
