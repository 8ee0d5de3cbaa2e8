"""The forms of an answer say the same: features, columns, Arrow, GeoParquet; some fields or all; packed."""

import asyncio
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import geopandas
import httpx
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from pipelines.api.answers import SearchAnswer
from pipelines.api.answers_by_form import ColumnsAnswer
from pipelines.api.explore import DatesParameters
from pipelines.api.fields import MEMBERS, PROPERTIES, Fields
from pipelines.client.tables import about, frame_of, joined, read_table
from pipelines.serve.app import Ingress
from pipelines.serve.media import ARROW, PARQUET, WINDOW_BYTES, packed
from pipelines.serve.outlines import geojson
from tests.pipelines.serve.conftest import Archive

Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def ask(alone: Ingress) -> Ask:
    """Send a request to a service in this process."""
    app = alone.__serve_build_asgi_app__()

    async def asked(method: str, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.request(method, path, **options)

    return lambda *arguments, **options: asyncio.run(asked(*arguments, **options))


@pytest.fixture
def query(archive: Archive) -> dict[str, Any]:
    return {"chip_ids": archive.ids()[:1], "k": 64}


def search(ask: Ask, query: dict[str, Any], accept: str = "application/json") -> httpx.Response:
    answer = ask("POST", "/v1/search", json=query, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer


def test_columns_say_what_features_say(ask: Ask, query: dict[str, Any]) -> None:
    features = SearchAnswer.model_validate_json(search(ask, query).content)
    answer = ColumnsAnswer.model_validate_json(search(ask, query | {"format": "columns"}).content)
    columns = answer.columns
    assert columns.model_dump().keys() == {"id", "distance", "lon", "lat", "bbox", "datetime", "collection"}
    assert columns.id == [match.id for match in features.features]
    assert columns.distance == [match.properties.distance for match in features.features]
    assert columns.datetime == [match.properties.datetime for match in features.features]
    assert columns.collection == [match.properties.collection for match in features.features]
    for match, box, lon, lat in zip(features.features, columns.bbox, columns.lon, columns.lat, strict=True):
        if match.bbox is None:
            assert (box, lon, lat) == (None, None, None)
            continue
        assert box == pytest.approx(match.bbox, abs=5e-7)
        west, south, east, north = match.bbox
        middle = (west + (east - west) % 360 / 2 + 180) % 360 - 180
        assert (lon, lat) == (pytest.approx(middle, abs=1e-6), pytest.approx((south + north) / 2, abs=1e-6))
    assert answer.search.model_dump(exclude={"took_ms"}) == features.search.model_dump(exclude={"took_ms"})
    assert (answer.numberMatched, answer.numberReturned) == (63, 63)


def test_every_column_by_name(ask: Ask, query: dict[str, Any]) -> None:
    fields = {"include": ["properties", "geometry", "id", "bbox"]}
    features = SearchAnswer.model_validate_json(search(ask, query).content).features
    columns = search(ask, query | {"format": "columns", "fields": fields}).json()["columns"]
    assert columns["rank"] == list(range(1, 64))
    for name in ("uri", "etag", "beyond_chance"):
        assert columns[name] == [getattr(match.properties, name) for match in features]
    assert columns["window"] == [list(match.properties.window) for match in features]
    assert columns["similarity"] == [round(match.properties.similarity, 4) for match in features]
    assert columns["geometry"] == [match.geometry for match in features]


@given(
    include=st.none() | st.lists(st.sampled_from([*MEMBERS, *PROPERTIES]), min_size=1, max_size=5),
    exclude=st.none() | st.lists(st.sampled_from([*MEMBERS, *PROPERTIES]), min_size=1, max_size=5),
)
def test_fields_as_a_parameter_are_those_of_a_body(
    include: list[str] | None, exclude: list[str] | None
) -> None:
    fields = Fields.model_validate({"include": include, "exclude": exclude})
    assert DatesParameters.model_validate({"fields": fields.text()}).fields == Fields.model_validate(
        {"include": include, "exclude": exclude}
    )


def test_only_the_fields_that_are_wanted(ask: Ask, query: dict[str, Any]) -> None:
    whole = search(ask, query).json()["features"]
    some = {"include": ["id", "properties.distance", "window"]}
    for feature, match in zip(search(ask, query | {"fields": some}).json()["features"], whole, strict=True):
        properties = {name: match["properties"][name] for name in ("distance", "window")}
        assert feature == {"type": "Feature", "id": match["id"], "geometry": None, "properties": properties}
    without = {"exclude": ["geometry", "properties", "assets"]}
    for feature, match in zip(
        search(ask, query | {"fields": without}).json()["features"], whole, strict=True
    ):
        kept = {name: value for name, value in match.items() if name != "assets"}
        assert feature == {**kept, "geometry": None, "properties": {}}
    refused = ask("POST", "/v1/search", json=query | {"fields": {"include": ["colour"]}})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert "'colour'" in refused.json()["message"]


def test_arrow_and_geoparquet(ask: Ask, query: dict[str, Any], archive: Archive) -> None:
    features = SearchAnswer.model_validate_json(search(ask, query).content)
    arrow = read_table(search(ask, query, ARROW).content)
    parquet_file = search(ask, query, PARQUET).content
    assert pq.read_table(io.BytesIO(parquet_file)).equals(arrow.replace_schema_metadata(None))
    assert arrow["id"].to_pylist() == [match.id for match in features.features]
    wkb_of = dict(
        zip(
            *(archive.rows[archive.versions[0]][name].to_pylist() for name in ("chip_id", "geometry")),
            strict=True,
        )
    )
    assert arrow["geometry"].to_pylist() == [wkb_of[match.id] for match in features.features]
    assert about(arrow)["numberMatched"] == 63
    frame = geopandas.read_parquet(io.BytesIO(parquet_file))
    assert frame.crs == "OGC:CRS84"
    assert frame["distance"].tolist() == [match.properties.distance for match in features.features]
    no_outlines = search(ask, query | {"fields": {"exclude": ["geometry"]}}, PARQUET).content
    assert "geometry" not in pq.read_table(io.BytesIO(no_outlines)).column_names


def test_pages_of_tables_are_one_frame(ask: Ask, query: dict[str, Any]) -> None:
    pages, body = list[pa.Table](), query | {"limit": 20}
    while True:
        pages.append(read_table(search(ask, body, ARROW).content))
        links = about(pages[-1])["links"]
        if not links:
            break
        body = body | links[0]["body"]
    frame = frame_of(joined(pages))
    whole = SearchAnswer.model_validate_json(search(ask, query).content)
    assert frame.index.tolist() == [match.id for match in whole.features]
    assert frame["distance"].tolist() == [match.properties.distance for match in whole.features]
    assert frame.attrs["numberReturned"] == 63
    assert frame.crs == "EPSG:4326"


def test_what_isn_t_accepted(ask: Ask, query: dict[str, Any]) -> None:
    for accept in ("text/csv", "application/vnd.apache.parquet;q=0"):
        answer = ask("POST", "/v1/search", json=query, headers={"Accept": accept})
        assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    for accept in ("text/html, */*;q=0.1", f"{PARQUET};q=.2, application/geo+json"):
        assert search(ask, query, accept).headers["content-type"] == "application/geo+json"
    best = search(ask, query, f"application/json;q=0.5, {PARQUET}")
    assert best.headers["content-type"] == PARQUET


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity", "br", "gzip;q=0, zstd;q=0"])
def test_large_answers_are_packed_as_the_client_takes_it(
    ask: Ask, query: dict[str, Any], encoding: str
) -> None:
    plain = search(ask, query)
    answer = ask("POST", "/v1/search", json=query, headers={"Accept-Encoding": encoding})
    assert len(plain.content) > WINDOW_BYTES
    sent = answer.headers.get("content-encoding")
    assert sent == (encoding if encoding in ("gzip", "zstd") else None)
    content = answer.content  # httpx unpacks gzip, and zstd only where a library for it is installed
    if sent == "zstd" and content[:4] == b"\x28\xb5\x2f\xfd":
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            content = stream.read()
    unpacked = json.loads(content)
    assert unpacked["features"] == plain.json()["features"]
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    small = ask("POST", "/v1/search", json=query | {"k": 1}, headers={"Accept-Encoding": encoding})
    assert "content-encoding" not in small.headers


@given(
    corner=st.tuples(st.floats(-179, 178), st.floats(-89, 88)),
    size=st.floats(1e-5, 1).map(lambda size: float(np.float32(size))),
)
def test_outlines_have_the_decimals_that_their_accuracy_needs(
    corner: tuple[float, float], size: float
) -> None:
    west, south = corner
    shape = shapely.Polygon([(west, south), (west + size, south + size / 9), (west, south + size)])
    outline = shapely.to_wkb(shape)
    (fragment,) = geojson([outline])
    rounded = shapely.from_geojson(orjson.dumps(fragment))
    moved = np.abs(shapely.get_coordinates(rounded) - shapely.get_coordinates(shape)).max()
    assert moved <= size / 1000 * 1.001
    assert len(orjson.dumps(fragment)) <= 50 + 4 * len("[-179.12345678,-89.12345678],")
    many = geojson([outline] * 101)  # so many are written by shapely
    assert {orjson.dumps(each) for each in map(as_read, many)} == {orjson.dumps(as_read(fragment))}


def as_read(geometry: object) -> object:
    """A geometry as its reader sees it."""
    return orjson.loads(orjson.dumps(geometry))


def test_outlines_of_each_kind_are_written_alone_as_among_many() -> None:
    halves = shapely.MultiPolygon([shapely.box(179.7, 1, 180, 2), shapely.box(-180, 1, -179.2345678, 2)])
    with_hole = shapely.box(0, 0, 3, 3).difference(shapely.box(1, 1, 2.123456789, 2))
    flat = shapely.Polygon([(0.123456789123, 1, 5), (1, 1, 5), (1, 2, 5)])
    shapes = [shapely.box(7, 8, 9.87654321, 10), halves, with_hole, flat, shapely.Polygon(), None]
    outlines = [None if shape is None else shapely.to_wkb(shape) for shape in shapes]
    alone = [geojson([outline])[0] for outline in outlines]
    for together in (geojson(outlines), geojson(outlines * 20)):
        assert as_read(together)[: len(shapes)] == as_read(alone)
    assert [each and each["type"] for each in as_read(alone)] == [
        *("Polygon", "MultiPolygon", "Polygon", "Polygon", "Polygon"),
        None,
    ]


def test_gzip_is_whole() -> None:
    body = bytes(20_000)
    content, headers = packed(body, Headers({"accept-encoding": "gzip, deflate"}))
    assert (gzip.decompress(content), headers) == (body, {"Content-Encoding": "gzip"})
