"""Calls whose answers are Arrow tables, and the call for the page after a table."""

from dataclasses import replace
from typing import TypeAlias, TypeVar

import pyarrow as pa

from pipelines.api.explore import MAX_HERE, ChangesRequest, DatesParameters, HereParameters
from pipelines.api.requests import MAX_K, SearchLimits, SearchRequest
from pipelines.client.calls import Call, chip_path, given_of, parameters_of
from pipelines.client.tables import about, read_table
from pipelines.errors import QueryError

TableRequest: TypeAlias = SearchRequest | ChangesRequest | HereParameters
"""What can be asked for as a table."""

_ARROW = "application/vnd.apache.arrow.stream"

Paged = TypeVar("Paged", SearchRequest, SearchLimits, HereParameters)


def table(request: TableRequest) -> Call[pa.Table]:
    """Find chips, pairs of chips, or what lies in a place: the first page of the answer.

    Without a ``limit`` of its own, pages are as large as the service allows.
    """
    if isinstance(request, HereParameters):
        params = parameters_of(_in_large_pages(request, MAX_HERE))
        return Call("GET", "/v1/chips", read_table, params=params, accept=_ARROW)
    if isinstance(request, ChangesRequest):
        return Call("POST", "/v1/changes", read_table, json=given_of(request), accept=_ARROW)
    body = given_of(_in_large_pages(request, MAX_K))
    return Call("POST", "/v1/search", read_table, json=body, accept=_ARROW)


def image_table(content: bytes, limits: SearchLimits) -> Call[pa.Table]:
    """Find the chips most like an image: the first page. The pages after it don't send the image again."""
    params = parameters_of(_in_large_pages(limits, MAX_K))
    return Call("POST", "/v1/search/image", read_table, params=params, content=content, accept=_ARROW)


def dates_table(chip_id: str, parameters: DatesParameters) -> Call[pa.Table]:
    """Return the chips of other scenes at a chip's place, and the chip itself, in the order of time."""
    path = f"{chip_path(chip_id)}/dates"
    return Call("GET", path, read_table, params=parameters_of(parameters), accept=_ARROW)


def next_table(page: pa.Table, call: Call[pa.Table]) -> Call[pa.Table] | None:
    """Return the call for the page after a table, None after the last.

    Raises QueryError if the link leads away from the service, which would tell others the key.
    """
    link = next((link for link in about(page)["links"] if link["rel"] == "next"), None)
    if link is None:
        return None
    if not link["href"].startswith("/v1/"):
        raise QueryError("the answer's link to its next page leads nowhere", "update this client")
    if link["method"] == "GET":
        return replace(call, path=link["href"], params=None)
    own = call.json if link["merge"] and call.json else {}
    return replace(call, path=link["href"], params=None, content=None, json={**own, **link["body"]})


def _in_large_pages(request: Paged, most: int) -> Paged:
    if "limit" in request.model_fields_set:
        return request
    return request.model_copy(update={"limit": most})
