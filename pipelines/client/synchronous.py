"""A client of the query service for ordinary Python: one call after the other."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Self

import httpx
import pyarrow as pa
from tenacity import Retrying

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


class Client:
    """A connection to one query service; close it, or use it in a ``with`` block. Threads may share it.

    Every method raises QueryError or a subclass, with the service's own message and hint. A call to a service
    that is busy or restarts is repeated for a while; see `pipelines.client.retries.retry_options`.
    """

    def __init__(
        self, base_url: str, key: str | None = None, *, timeout: float = 60.0, patience: float = 30.0
    ) -> None:
        """Connect to ``base_url``, e.g. http://127.0.0.1:8000.

        ``timeout``: longest wait for the network [seconds]; ``patience``: how long after the first try of a
        call another one may start [seconds], 0: never. Raises QueryError on a bad address or key.
        """
        self._http = httpx.Client(**settings(base_url, key, timeout))
        self._patience = patience

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def search(self, request: SearchRequest) -> SearchAnswer:
        """Find the chips most like examples of the table, a code, or the chip at a point: the first page."""
        return self._send(calls.search(request))

    def search_image(self, content: bytes, limits: SearchLimits | None = None) -> SearchAnswer:
        """Find the chips most like an image (JPEG, PNG, JPEG 2000 or GeoTIFF): the first page.

        It ranks by the network's real values; ``ImageLimits(rank_by="bits")`` by bits alone.
        """
        return self._send(calls.search_image(content, limits or SearchLimits()))

    def search_batch(self, requests: Sequence[SearchRequest]) -> BatchAnswer:
        """Answer up to 256 searches, in order and from one snapshot; what fails is an ErrorBody."""
        return self._send(calls.search_batch(requests))

    def pages(self, request: SearchRequest) -> Iterator[SearchAnswer]:
        """Yield all pages of an answer, of ``request.limit`` chips each, all of one snapshot.

        Raises SnapshotGoneError if the service drops that snapshot before the last page.
        """
        yield from self._pages(self.search(request), request)

    def image_pages(self, content: bytes, limits: SearchLimits | None = None) -> Iterator[SearchAnswer]:
        """Yield all pages of the answer to an image; see `pages`. The image is sent only once."""
        yield from self._pages(self.search_image(content, limits), None)

    def table(self, request: TableRequest) -> pa.Table:
        """Return all pages of an answer as one Arrow table, footprints as WKB; `about` reads its metadata.

        The answer to a search, to changes, or what lies in a place. ``request.fields`` names the columns.
        Raises SnapshotGoneError as `pages` does.
        """
        return self._table(table_calls.table(request))

    def image_table(self, content: bytes, limits: SearchLimits | None = None) -> pa.Table:
        """Return all pages of the answer to an image as one Arrow table; see `table` and `search_image`."""
        return self._table(table_calls.image_table(content, limits or SearchLimits()))

    def dates_table(self, chip_id: str, parameters: DatesParameters | None = None) -> pa.Table:
        """Return what `dates` finds as an Arrow table; see `table`."""
        return self._table(table_calls.dates_table(chip_id, parameters or DatesParameters()))

    def frame(self, request: TableRequest) -> "geopandas.GeoDataFrame":
        """Return what `table` does as a GeoDataFrame, chip ids as its index; needs geopandas."""
        return frame_of(self.table(request))

    def image_frame(self, content: bytes, limits: SearchLimits | None = None) -> "geopandas.GeoDataFrame":
        """Return what `image_table` does as a GeoDataFrame; see `frame`."""
        return frame_of(self.image_table(content, limits))

    def dates_frame(
        self, chip_id: str, parameters: DatesParameters | None = None
    ) -> "geopandas.GeoDataFrame":
        """Return what `dates_table` does as a GeoDataFrame; see `frame`."""
        return frame_of(self.dates_table(chip_id, parameters))

    def grid(self, request: GridRequest) -> GridAnswer:
        """Count the chips in each cell of a view, and at each distance in the whole table."""
        return self._send(calls.grid(request))

    def changes(self, request: ChangesRequest) -> ChangesAnswer:
        """Find pairs of chips of one place and two dates, the most different first."""
        return self._send(calls.changes(request))

    def chips(self, place: HereParameters) -> ChipsAnswer:
        """Return the chips that lie in a place: a page of them; ``after`` leads on."""
        return self._send(calls.chips(place))

    def dates(self, chip_id: str, parameters: DatesParameters | None = None) -> ChipsAnswer:
        """Return the chips of other scenes at a chip's place, and the chip itself, in the order of time."""
        return self._send(calls.dates(chip_id, parameters or DatesParameters()))

    def coverage(self, parameters: CoverageParameters | None = None) -> CoverageAnswer:
        """Return how many chips lie where."""
        return self._send(calls.coverage(parameters or CoverageParameters()))

    def collections(self, snapshot: int | None = None) -> CollectionsAnswer:
        """Return what each collection spans, and its chips of each month."""
        return self._send(calls.collections(snapshot))

    def watches(self) -> WatchesAnswer:
        """Return the watches that the service shows."""
        return self._send(calls.watches())

    def hits(self, watch: str, parameters: HitsParameters | None = None) -> HitsAnswer:
        """Return a watch's hits, the newest publication first: a page of them; ``after`` leads on."""
        return self._send(calls.hits(watch, parameters or HitsParameters()))

    def chip(self, chip_id: str, snapshot: int | None = None) -> Chip:
        """Return one chip, as it is in a version of the table; None: in the one that is served."""
        return self._send(calls.chip(chip_id, snapshot))

    def thumbnail(
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
        return self._send(calls.thumbnail(chip_id, size, context, version, media_type))

    def encode(self, content: bytes) -> EncodeAnswer:
        """Return an image's code, and how much each bit of it should count."""
        return self._send(calls.encode(content))

    def snapshot(self) -> SnapshotInfo:
        """Return which version of the table is served."""
        return self._send(calls.snapshot())

    def status(self) -> Status:
        """Return what each deployment has loaded. Needs a key of the admin role."""
        return self._send(calls.status())

    def _pages(self, answer: SearchAnswer, request: SearchRequest | None) -> Iterator[SearchAnswer]:
        yield answer
        while (following := calls.next_request(answer, request)) is not None:
            request = following
            answer = self.search(request)
            yield answer

    def _table(self, call: Call[pa.Table]) -> pa.Table:
        pages: list[pa.Table] = []
        following: Call[pa.Table] | None = call
        while following is not None:
            pages.append(self._send(following))
            following = table_calls.next_table(pages[-1], following)
        return joined(pages)

    def _send(self, call: Call[Answer]) -> Answer:
        retrying = Retrying(**retry_options(self._patience))
        return call.answer(retrying(self._try, call))

    def _try(self, call: Call[Answer]) -> Reply:
        try:
            return self._http.send(call.request(self._http))
        except httpx.RequestError as error:
            return error
