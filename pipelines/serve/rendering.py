"""Writes answers as the bytes that a request takes: JSON, an Arrow stream or a GeoParquet file, packed."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers

from pipelines.api.explore import ChangesRequest, DatesParameters, HereParameters
from pipelines.api.fields import Fields
from pipelines.api.requests import SearchRequest
from pipelines.serve.answer_columns import columns_answer, columns_table
from pipelines.serve.answer_features import features_answer
from pipelines.serve.media import ARROW, GEOJSON, JSON, PARQUET, MediaType, packed
from pipelines.serve.page import USUAL, Page
from pipelines.serve.pools import WorkPool
from pipelines.serve.refusals import Refusal
from pipelines.table.shard_files import GEO_METADATA

Formed = TypeVar("Formed", SearchRequest, ChangesRequest, HereParameters, DatesParameters)
_RENDERING = WorkPool("rendering", 2)
_LARGE_PAGE = 100
"""Chips: larger pages are written in a thread, so that other requests don't wait."""
_VARY = {"Vary": "Accept, Accept-Encoding"}


class GeoJSON(JSONResponse):
    """A GeoJSON body (RFC 7946), for the description of the API."""

    media_type = GEOJSON


def forms(columns: str) -> dict[str, Any]:
    """Return how OpenAPI describes an answer that may have other forms; ``columns``: its model in columns."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    in_columns = {"schema": {"$ref": f"#/components/schemas/{columns}"}}
    content = {JSON: in_columns, ARROW: binary, PARQUET: binary}
    return {"response_class": GeoJSON, "responses": {200: {"content": content}}}


def in_form(query: Formed, kind: MediaType, usual: Sequence[str] = USUAL) -> Formed:
    """Return a request as the shards must see it for an answer of this media type.

    Arrow and Parquet are columns, and have the footprints too unless the request names its columns.
    ``usual``: the columns of an answer if it doesn't.
    """
    if kind == "json":
        return query
    fields = query.fields or Fields()
    if not fields.include:
        fields = Fields(include=(*usual, "geometry"), exclude=fields.exclude)
    return query.model_copy(update={"format": "columns", "fields": fields})


async def respond(page: Page, kind: MediaType, request: Request) -> Response:
    """Return the response with a page."""

    def render() -> Response:
        page.about.get("search", page.about)["took_ms"] = milliseconds(request)
        if kind != "json":
            return _table_response(columns_table(page), kind, request.headers)
        return json_response(written(page), request.headers, JSON if page.is_columns else GEOJSON)

    return await _RENDERING.run(render) if len(page) > _LARGE_PAGE else render()


async def respond_batch(answers: Sequence[Page | Refusal], request: Request) -> Response:
    """Return the response with the answers to a batch, as JSON."""

    def render() -> Response:
        bodies = []
        for answer in answers:
            if isinstance(answer, Refusal):
                bodies.append(answer.body.model_dump())
            else:
                answer.about["search"]["took_ms"] = milliseconds(request)
                bodies.append(written(answer))
        return json_response({"answers": bodies}, request.headers)

    return await _RENDERING.run(render)


def written(page: Page) -> dict[str, Any]:
    """Return a page in the layout that its request names."""
    return columns_answer(page) if page.is_columns else features_answer(page)


def milliseconds(request: Request) -> float:
    """Return how long ago a request arrived [ms]."""
    started: float = request.scope["state"]["started"]
    return round((time.perf_counter() - started) * 1000, 3)


def json_response(content: object, headers: Headers, kind: str = JSON) -> Response:
    """Return the response with a JSON body, packed if ``headers`` of the request take that."""
    return _packed_response(json_bytes(content), headers, kind)


def json_bytes(content: object) -> bytes:
    """Return plain values as JSON, without the routes' response models, which only document it."""
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)


async def in_thread(render: Callable[..., Response], *arguments: object) -> Response:
    """Return a large response, which is written in a thread."""
    return await _RENDERING.run(render, *arguments)


def _table_response(table: pa.Table, kind: MediaType, headers: Headers) -> Response:
    sink = pa.BufferOutputStream()
    if kind == "arrow":
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return _packed_response(sink.getvalue().to_pybytes(), headers, ARROW)
    pq.write_table(_as_geoparquet(table), sink, compression="zstd")
    return Response(sink.getvalue().to_pybytes(), media_type=PARQUET, headers=_VARY)


def _as_geoparquet(table: pa.Table) -> pa.Table:
    """Return the table with the metadata of GeoParquet 1.1, if it has footprints."""
    if "geometry" not in table.column_names:
        return table
    geo: dict[str, Any] = GEO_METADATA
    if "bbox" not in table.column_names:
        geo = GEO_METADATA | {"columns": {"geometry": {"encoding": "WKB", "geometry_types": []}}}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), "geo": orjson.dumps(geo)})


def _packed_response(body: bytes, headers: Headers, kind: str) -> Response:
    content, packing = packed(body, headers)
    return Response(content, media_type=kind, headers={**_VARY, **packing})
