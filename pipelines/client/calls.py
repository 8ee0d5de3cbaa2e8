"""Calls of the query API: builds the requests and reads the answers. The clients do the sending."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from pipelines.api.answers import (
    BatchAnswer,
    Chip,
    EncodeAnswer,
    ErrorBody,
    SearchAnswer,
    SnapshotInfo,
    Status,
)
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
from pipelines.api.fields import Fields
from pipelines.api.requests import BatchRequest, SearchLimits, SearchRequest
from pipelines.api.watches import HitsAnswer, HitsParameters, WatchesAnswer
from pipelines.errors import (
    InvalidQueryError,
    NotFoundError,
    OtherModelError,
    QueryError,
    SnapshotGoneError,
    UnauthorizedError,
    UnavailableError,
)

PictureType = Literal["image/png", "image/jpeg", "image/webp"]
"""Media types of pictures: PNG has the exact pixels, WebP the fewest bytes."""

Answer = TypeVar("Answer")
Body = TypeVar("Body", bound=BaseModel)

_ERRORS: Mapping[int, type[QueryError]] = {
    400: InvalidQueryError,
    401: UnauthorizedError,
    403: UnauthorizedError,
    404: NotFoundError,
    409: OtherModelError,
    410: SnapshotGoneError,
    413: InvalidQueryError,
    415: InvalidQueryError,
    422: InvalidQueryError,
    429: UnavailableError,
    503: UnavailableError,
}
"""The error for an HTTP status; any other status is a plain QueryError."""

_BY_CODE: Mapping[str, type[QueryError]] = {"source_changed": NotFoundError}
"""The error for a code of the service, where the status isn't enough: 409 here means that pixels are gone."""


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """A request of the API, and how to read its answer."""

    method: str
    path: str
    read: Callable[[bytes], Answer]
    """Reads the answer from the body of a success. Raises pydantic's ValidationError"""
    json: Mapping[str, Any] | None = None
    params: Mapping[str, str | int | float | Sequence[str]] | None = None
    content: bytes | None = None
    accept: str = "application/json"

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return the request that ``http`` can send."""
        return http.build_request(
            self.method,
            self.path,
            json=self.json,
            params=self.params,
            content=self.content,
            headers={"Accept": self.accept},
        )

    def answer(self, outcome: httpx.Response | httpx.RequestError) -> Answer:
        """Return the answer in a response. Raises QueryError or a subclass if there is none."""
        if isinstance(outcome, httpx.RequestError):
            raise UnavailableError(
                f"no answer from {outcome.request.url}: {outcome or type(outcome).__name__}",
                "is jobs.serve running there?",
            ) from outcome
        try:
            if outcome.is_success:
                return self.read(outcome.content)
            refusal = ErrorBody.model_validate_json(outcome.content)
        except ValidationError as error:
            kind = UnavailableError if outcome.status_code in (502, 503, 504) else QueryError
            raise kind(
                f"{outcome.request.url} answers {outcome.status_code}, not as a query service would",
                "check the address; a proxy in between may have answered",
                status=outcome.status_code,
            ) from error
        error_type = _BY_CODE.get(refusal.code, _ERRORS.get(outcome.status_code, QueryError))
        raise error_type(refusal.message, refusal.hint, refusal.code, outcome.status_code)


def search(request: SearchRequest) -> Call[SearchAnswer]:
    """Find the chips most like examples of the table, a code, or the chip at a point."""
    _check_whole(request)
    return Call("POST", "/v1/search", _reader(SearchAnswer), json=given_of(request))


def grid(request: GridRequest) -> Call[GridAnswer]:
    """Count the chips in each cell of a view, and at each distance in the whole table."""
    return Call("POST", "/v1/search/grid", _reader(GridAnswer), json=given_of(request))


def changes(request: ChangesRequest) -> Call[ChangesAnswer]:
    """Find pairs of chips of one place and two dates, the most different first."""
    _check_features(request)
    return Call("POST", "/v1/changes", _reader(ChangesAnswer), json=given_of(request))


def chips(place: HereParameters) -> Call[ChipsAnswer]:
    """Return the chips that lie in a place: a page of them."""
    _check_features(place)
    return Call("GET", "/v1/chips", _reader(ChipsAnswer), params=parameters_of(place))


def dates(chip_id: str, parameters: DatesParameters) -> Call[ChipsAnswer]:
    """Return the chips of other scenes at a chip's place, and the chip itself, in the order of time."""
    _check_features(parameters)
    return Call("GET", f"{chip_path(chip_id)}/dates", _reader(ChipsAnswer), params=parameters_of(parameters))


def coverage(parameters: CoverageParameters) -> Call[CoverageAnswer]:
    """Return how many chips lie where."""
    return Call("GET", "/v1/coverage", _reader(CoverageAnswer), params=parameters_of(parameters))


def collections(snapshot: int | None) -> Call[CollectionsAnswer]:
    """Return what each collection spans, and its chips of each month."""
    params = {} if snapshot is None else {"snapshot": snapshot}
    return Call("GET", "/v1/collections", _reader(CollectionsAnswer), params=params)


def watches() -> Call[WatchesAnswer]:
    """Return the watches that the service shows."""
    return Call("GET", "/v1/watches", _reader(WatchesAnswer))


def hits(watch: str, parameters: HitsParameters) -> Call[HitsAnswer]:
    """Return a watch's hits, the newest publication first: a page of them."""
    path = f"/v1/watches/{quote(watch, safe='')}/hits"
    return Call("GET", path, _reader(HitsAnswer), params=parameters_of(parameters))


def search_image(content: bytes, limits: SearchLimits) -> Call[SearchAnswer]:
    """Find the chips most like an image. The limits of the search go into the query string."""
    _check_whole(limits)
    params = parameters_of(limits)
    return Call("POST", "/v1/search/image", _reader(SearchAnswer), params=params, content=content)


def search_batch(requests: Sequence[SearchRequest]) -> Call[BatchAnswer]:
    """Answer several searches, in order and from one snapshot."""
    for request in requests:
        _check_whole(request)
    body = given_of(BatchRequest(queries=tuple(requests)))
    return Call("POST", "/v1/search/batch", _reader(BatchAnswer), json=body)


def next_request(answer: SearchAnswer, request: SearchRequest | None) -> SearchRequest | None:
    """Return the request for the page after an answer, None after the last.

    ``request``: the request of this answer, None for an image. Raises QueryError if the link isn't valid.
    """
    link = next((link for link in answer.links if link.rel == "next"), None)
    if link is None:
        return None
    own = given_of(request) if link.merge and request is not None else {}
    try:
        return SearchRequest.model_validate(own | link.body)
    except ValidationError as error:
        raise QueryError("the answer's link to its next page leads nowhere", "update this client") from error


def chip(chip_id: str, snapshot: int | None) -> Call[Chip]:
    """Return one chip."""
    params = {} if snapshot is None else {"snapshot": snapshot}
    return Call("GET", chip_path(chip_id), _reader(Chip), params=params)


def thumbnail(
    chip_id: str, size: int | None, context: int, version: str | None, media_type: PictureType
) -> Call[bytes]:
    """Return a picture of one chip."""
    asked = {"size": size, "context": context, "version": version}
    params = {name: value for name, value in asked.items() if value is not None}
    return Call("GET", f"{chip_path(chip_id)}/thumbnail", bytes, params=params, accept=media_type)


def encode(content: bytes) -> Call[EncodeAnswer]:
    """Return an image's code."""
    return Call("POST", "/v1/encode", _reader(EncodeAnswer), content=content)


def snapshot() -> Call[SnapshotInfo]:
    """Return which version of the table is served."""
    return Call("GET", "/v1/snapshot", _reader(SnapshotInfo))


def status() -> Call[Status]:
    """Return what each deployment has loaded."""
    return Call("GET", "/v1/status", _reader(Status))


def given_of(model: BaseModel) -> dict[str, Any]:
    """Return what was given of a request, as JSON."""
    return model.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def parameters_of(model: BaseModel) -> dict[str, Any]:
    """Return what was given of a request, as query parameters."""
    given = given_of(model)
    if "bbox" in given:
        given["bbox"] = ",".join(str(degrees) for degrees in given["bbox"])
    if "intersects" in given:
        given["intersects"] = dumps(given["intersects"])
    if "fields" in given:
        given["fields"] = Fields.model_validate(given["fields"]).text()
    return given


def chip_path(chip_id: str) -> str:
    """Return the path of a chip."""
    return f"/v1/chips/{quote(chip_id, safe='')}"


def _check_whole(request: SearchLimits) -> None:
    """Raise InvalidQueryError if a search asks for another form than whole features."""
    if request.format != "features" or request.fields is not None:
        raise InvalidQueryError(
            "this method reads whole features", "leave format and fields out, or take a table or frame"
        )


def _check_features(request: ChangesRequest | HereParameters | DatesParameters) -> None:
    """Raise InvalidQueryError if a request asks for columns."""
    if request.format != "features":
        raise InvalidQueryError("this method reads features", "leave format out, or take a table or frame")


def _reader(kind: type[Body]) -> Callable[[bytes], Body]:
    return kind.model_validate_json
