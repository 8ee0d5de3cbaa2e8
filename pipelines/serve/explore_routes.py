"""Routes about the table as a whole: heat, what lies where, chips of a place, and what has changed."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from pipelines.api.answers import Chip
from pipelines.api.explore import (
    ChangesRequest,
    CoverageParameters,
    DatesParameters,
    GridRequest,
    HereParameters,
    SnapshotParameters,
)
from pipelines.api.explore_answers import (
    ChangeColumnsAnswer,
    ChangesAnswer,
    ChipColumnsAnswer,
    ChipsAnswer,
    CollectionsAnswer,
    CoverageAnswer,
    GridAnswer,
)
from pipelines.serve.answer_features import chip_features
from pipelines.serve.changes import USUAL_OF_PAIRS, changes
from pipelines.serve.facts import CollectionsLookup, CoverageLookup, collections_answer, coverage_answer
from pipelines.serve.fanout import Shards
from pipelines.serve.grid import grid
from pipelines.serve.here import (
    USUAL_HERE,
    ChipLookup,
    DatesLookup,
    HereLookup,
    dates_page,
    here_page,
)
from pipelines.serve.media import GEOJSON, media_type
from pipelines.serve.page import USUAL
from pipelines.serve.question import SnapshotId, SnapshotSelector
from pipelines.serve.refusals import RefusedRequest
from pipelines.serve.rendering import GeoJSON, forms, in_form, in_thread, json_response, milliseconds, respond
from pipelines.serve.search import no_such_chip

ChipId = Annotated[str, Path(min_length=1, max_length=200)]


class ExploreRoutes:
    """The routes: each checks its request, asks the shards, and writes the answer."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        post, get = router.post, router.get
        of_chips, of_pairs = forms("ChipColumnsAnswer"), forms("ChangeColumnsAnswer")
        post("/v1/search/grid", response_model=GridAnswer)(self.grid)
        post("/v1/changes", response_model=ChangesAnswer | ChangeColumnsAnswer, **of_pairs)(self.changes)
        get("/v1/chips", response_model=ChipsAnswer | ChipColumnsAnswer, **of_chips)(self.here)
        get("/v1/chips/{chip_id}", response_model=Chip, response_class=GeoJSON)(self.chip)
        get("/v1/chips/{chip_id}/dates", response_model=ChipsAnswer | ChipColumnsAnswer, **of_chips)(
            self.dates
        )
        get("/v1/coverage", response_model=CoverageAnswer)(self.coverage)
        get("/v1/collections", response_model=CollectionsAnswer)(self.collections)

    async def grid(self, request: Request, query: GridRequest) -> Response:
        """Count the chips in each cell of a view, and at each distance in the whole table."""
        answer = await grid(self._shards, query)
        answer["took_ms"] = milliseconds(request)
        return await in_thread(json_response, answer, request.headers)

    async def changes(self, request: Request, query: ChangesRequest) -> Response:
        """Find pairs of chips of one place and two dates, the most different first."""
        kind = media_type(request.headers)
        page = await changes(self._shards, in_form(query, kind, USUAL_OF_PAIRS))
        return await respond(page, kind, request)

    async def here(self, request: Request, parameters: Annotated[HereParameters, Query()]) -> Response:
        """Return the chips that lie in a place, in the order of their ids."""
        kind = media_type(request.headers)
        parameters = in_form(parameters, kind, USUAL_HERE)
        snapshot_id, parts = await self._shards.look(HereLookup(parameters), _of(parameters.snapshot))
        return await respond(here_page(parameters, snapshot_id, parts), kind, request)

    async def chip(
        self, request: Request, chip_id: ChipId, parameters: Annotated[SnapshotParameters, Query()]
    ) -> Response:
        """Return one chip."""
        (row, _), snapshot_id = await self._chip(chip_id, parameters.snapshot)
        feature = chip_features({name: [value] for name, value in row.items()})[0]
        answer = {**feature, "snapshot": snapshot_id.version, "model_id": snapshot_id.model_id}
        return json_response(answer, request.headers, GEOJSON)

    async def dates(
        self, request: Request, chip_id: ChipId, parameters: Annotated[DatesParameters, Query()]
    ) -> Response:
        """Return the chips of other scenes at a chip's place, and the chip itself, in the order of time."""
        kind = media_type(request.headers)
        (row, code), snapshot_id = await self._chip(chip_id, parameters.snapshot)
        parameters = in_form(parameters, kind, USUAL)
        selector = SnapshotSelector(snapshot_id.number, parameters.snapshot)
        snapshot_id, parts = await self._shards.look(DatesLookup(row, code, parameters), selector)
        return await respond(dates_page(parameters, snapshot_id, parts), kind, request)

    async def coverage(
        self, request: Request, parameters: Annotated[CoverageParameters, Query()]
    ) -> Response:
        """Return how many chips lie where."""
        lookup = CoverageLookup(parameters)
        snapshot_id, parts = await self._shards.look(lookup, _of(parameters.snapshot))
        return await in_thread(json_response, coverage_answer(lookup, snapshot_id, parts), request.headers)

    async def collections(
        self, request: Request, parameters: Annotated[SnapshotParameters, Query()]
    ) -> Response:
        """Return what each collection spans, and its chips of each month."""
        snapshot_id, parts = await self._shards.look(CollectionsLookup(), _of(parameters.snapshot))
        return json_response(collections_answer(snapshot_id, parts), request.headers)

    async def _chip(
        self, chip_id: str, snapshot: int | None
    ) -> tuple[tuple[dict[str, Any], bytes], SnapshotId]:
        """Return a chip's row and code, and the snapshot that they are of. Raises RefusedRequest."""
        snapshot_id, parts = await self._shards.look(ChipLookup(chip_id), _of(snapshot))
        found = next((part for part in parts if part is not None), None)
        if found is None:
            raise RefusedRequest(no_such_chip(chip_id))
        return found, snapshot_id


def _of(snapshot: int | None) -> SnapshotSelector:
    return SnapshotSelector(version=snapshot)
