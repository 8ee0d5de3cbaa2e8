"""A client of the query service for asyncio: many calls at a time."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Literal, Self

import httpx
import pyarrow as pa
from tenacity import AsyncRetrying

from pipelines.api.answers import BatchAnswer, Chip, EncodeAnswer, SearchAnswer, SnapshotInfo, Status
from pipelines.api.explore import (
    ChangesRequest,
    CoverageParameters,
    DatesParameters,
    GridRequest,
    HereParameters,
)
from pipelines.api.explore_answers import (
    ChangesAnswer,
    ChipsAnswer,
    CollectionsAnswer,
    CoverageAnswer,
    GridAnswer,
)
from pipelines.api.requests import SearchLimits, SearchRequest
from pipelines.api.watches import HitsAnswer, HitsParameters, WatchesAnswer
from pipelines.client import calls, table_calls
from pipelines.client.calls import Answer, Call, PictureType
from pipelines.client.connection import settings
from pipelines.client.retries import Reply, retry_options
from pipelines.client.table_calls import TableRequest
from pipelines.client.tables import frame_of, joined

if TYPE_CHECKING:
    import geopandas


class AsyncClient:
    """`Client` for asyncio, with the same methods; close it, or use it in an ``async with`` block."""

    def __init__(
        self, base_url: str, key: str | None = None, *, timeout: float = 60.0, patience: float = 30.0
    ) -> None:
        """Connect as `Client` does."""
        self._http = httpx.AsyncClient(**settings(base_url, key, timeout))
        self._patience = patience

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def search(self, request: SearchRequest) -> SearchAnswer:
        """Find the chips most like examples of the table, a code, or the chip at a point: the first page."""
        return await self._send(calls.search(request))

    async def search_image(self, content: bytes, limits: SearchLimits | None = None) -> SearchAnswer:
        """Find the chips most like an image (JPEG, PNG, JPEG 2000 or GeoTIFF): the first page.

        It ranks by the network's real values; ``ImageLimits(rank_by="bits")`` by bits alone.
        """
        return await self._send(calls.search_image(content, limits or SearchLimits()))

    async def search_batch(self, requests: Sequence[SearchRequest]) -> BatchAnswer:
        """Answer up to 256 searches, in order and from one snapshot; what fails is an ErrorBody."""
        return await self._send(calls.search_batch(requests))

    async def pages(self, request: SearchRequest) -> AsyncIterator[SearchAnswer]:
        """Yield all pages of an answer, all of one snapshot; see `Client.pages`."""
        async for page in self._pages(await self.search(request), request):
            yield page

    async def image_pages(
        self, content: bytes, limits: SearchLimits | None = None
    ) -> AsyncIterator[SearchAnswer]:
        """Yield all pages of the answer to an image; see `Client.pages`. The image is sent only once."""
        async for page in self._pages(await self.search_image(content, limits), None):
            yield page

    async def table(self, request: TableRequest) -> pa.Table:
        """Return all pages of an answer as one Arrow table, footprints as WKB; `about` reads its metadata.

        The answer to a search, to changes, or what lies in a place. ``request.fields`` names the columns.
        Raises SnapshotGoneError as `pages` does.
        """
        return await self._table(table_calls.table(request))

    async def image_table(self, content: bytes, limits: SearchLimits | None = None) -> pa.Table:
        """Return all pages of the answer to an image as one Arrow table; see `table` and `search_image`."""
        return await self._table(table_calls.image_table(content, limits or SearchLimits()))

    async def dates_table(self, chip_id: str, parameters: DatesParameters | None = None) -> pa.Table:
        """Return what `dates` finds as an Arrow table; see `table`."""
        return await self._table(table_calls.dates_table(chip_id, parameters or DatesParameters()))

    async def frame(self, request: TableRequest) -> "geopandas.GeoDataFrame":
        """Return what `table` does as a GeoDataFrame, chip ids as its index; needs geopandas."""
        return frame_of(await self.table(request))

    async def image_frame(
        self, content: bytes, limits: SearchLimits | None = None
    ) -> "geopandas.GeoDataFrame":
        """Return what `image_table` does as a GeoDataFrame; see `frame`."""
        return frame_of(await self.image_table(content, limits))

    async def dates_frame(
        self, chip_id: str, parameters: DatesParameters | None = None
    ) -> "geopandas.GeoDataFrame":
        """Return what `dates_table` does as a GeoDataFrame; see `frame`."""
        return frame_of(await self.dates_table(chip_id, parameters))

    async def grid(self, request: GridRequest) -> GridAnswer:
        """Count the chips in each cell of a view, and at each distance in the whole table."""
        return await self._send(calls.grid(request))

    async def changes(self, request: ChangesRequest) -> ChangesAnswer:
        """Find pairs of chips of one place and two dates, the most different first."""
        return await self._send(calls.changes(request))

    async def chips(self, place: HereParameters) -> ChipsAnswer:
        """Return the chips that lie in a place: a page of them; ``after`` leads on."""
        return await self._send(calls.chips(place))

    async def dates(self, chip_id: str, parameters: DatesParameters | None = None) -> ChipsAnswer:
        """Return the chips of other scenes at a chip's place, and the chip itself, in the order of time."""
        return await self._send(calls.dates(chip_id, parameters or DatesParameters()))

    async def coverage(self, parameters: CoverageParameters | None = None) -> CoverageAnswer:
        """Return how many chips lie where."""
        return await self._send(calls.coverage(parameters or CoverageParameters()))

    async def collections(self, snapshot: int | None = None) -> CollectionsAnswer:
        """Return what each collection spans, and its chips of each month."""
        return await self._send(calls.collections(snapshot))

    async def watches(self) -> WatchesAnswer:
        """Return the watches that the service shows."""
        return await self._send(calls.watches())

    async def hits(self, watch: str, parameters: HitsParameters | None = None) -> HitsAnswer:
        """Return a watch's hits, the newest publication first: a page of them; ``after`` leads on."""
        return await self._send(calls.hits(watch, parameters or HitsParameters()))

    async def chip(self, chip_id: str, snapshot: int | None = None) -> Chip:
        """Return one chip, as it is in a version of the table; None: in the one that is served."""
        return await self._send(calls.chip(chip_id, snapshot))

    async def thumbnail(
        self,
        chip_id: str,
        size: Literal[64, 128, 256, 512] | None = None,
        context: Literal[1, 3] = 1,
        version: str | None = None,
        media_type: PictureType = "image/png",
    ) -> bytes:
        """Return a picture of one chip, as PNG, JPEG or WebP.

        ``size``: its longest side [pixels], None: the chip's own pixels, at most 1024 a side. ``context``: 3
        shows the chip in the middle of its surroundings. ``version``: of the picture, as links of answers
        have it, None: what the chip is now. Raises NotFoundError if the picture of that version is gone.
        """
        return await self._send(calls.thumbnail(chip_id, size, context, version, media_type))

    async def encode(self, content: bytes) -> EncodeAnswer:
        """Return an image's code, and how much each bit of it should count."""
        return await self._send(calls.encode(content))

    async def snapshot(self) -> SnapshotInfo:
        """Return which version of the table is served."""
        return await self._send(calls.snapshot())

    async def status(self) -> Status:
        """Return what each deployment has loaded. Needs a key of the admin role."""
        return await self._send(calls.status())

    async def _pages(
        self, answer: SearchAnswer, request: SearchRequest | None
    ) -> AsyncIterator[SearchAnswer]:
        yield answer
        while (following := calls.next_request(answer, request)) is not None:
            request = following
            answer = await self.search(request)
            yield answer

    async def _table(self, call: Call[pa.Table]) -> pa.Table:
        pages: list[pa.Table] = []
        following: Call[pa.Table] | None = call
        while following is not None:
            pages.append(await self._send(following))
            following = table_calls.next_table(pages[-1], following)
        return joined(pages)

    async def _send(self, call: Call[Answer]) -> Answer:
        retrying = AsyncRetrying(**retry_options(self._patience))
        return call.answer(await retrying(self._try, call))

    async def _try(self, call: Call[Answer]) -> Reply:
        try:
            return await self._http.send(call.request(self._http))
        except httpx.RequestError as error:
            return error
