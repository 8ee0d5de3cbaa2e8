"""What lies in a place, page by page, in every form of an answer: each of the table's rows there once."""

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from pipelines.serve.app import Ingress
from tests.pipelines.serve.conftest import Archive
from tests.pipelines.serve.divided import passes

Row = dict[str, Any]
Read = Callable[[bytes], tuple[list[Row], dict[str, Any]]]
TRIANGLE = {"type": "Polygon", "coordinates": [[[0.3, 5], [3, 5], [3, 9.1], [0.3, 5]]]}
PLACES = {"bbox": [179.1, -5, -176.3, 8], "intersects": TRIANGLE}
FIELDS = "id,datetime,properties.uri,window,geometry"


def read_features(content: bytes) -> tuple[list[Row], dict[str, Any]]:
    answer = json.loads(content)
    assert answer["type"] == "FeatureCollection"
    rows = [
        {"id": feature["id"], "geometry": feature["geometry"], **feature["properties"]}
        for feature in answer["features"]
    ]
    return rows, answer


def read_columns(content: bytes) -> tuple[list[Row], dict[str, Any]]:
    answer = json.loads(content)
    names = answer["columns"]
    return [dict(zip(names, row, strict=True)) for row in zip(*names.values(), strict=True)], answer


def as_json(row: Row) -> Row:
    """A table's row as JSON has it."""
    time = row["datetime"]
    return row | {
        "datetime": None if time is None else time.isoformat().replace("+00:00", "Z"),
        "window": [row["window"][name] for name in "xywh"],
        "geometry": json.loads(shapely.to_geojson(shapely.from_wkb(row["geometry"]))),
    }


def read_arrow(content: bytes) -> tuple[list[Row], dict[str, Any]]:
    with pa.ipc.open_stream(content) as stream:
        table = stream.read_all()
    return [as_json(row) for row in table.to_pylist()], json.loads(table.schema.metadata[b"scenehash"])


def read_parquet(content: bytes) -> tuple[list[Row], dict[str, Any]]:
    table = pq.read_table(io.BytesIO(content))
    metadata = pq.read_metadata(io.BytesIO(content)).metadata
    assert json.loads(metadata[b"geo"])["primary_column"] == "geometry"
    return [as_json(row) for row in table.to_pylist()], json.loads(metadata[b"scenehash"])


FORMS: dict[str, tuple[Row, str, Read]] = {
    "GeoJSON": ({}, "application/geo+json", read_features),
    "columns": ({"format": "columns"}, "application/json", read_columns),
    "Arrow": ({}, "application/vnd.apache.arrow.stream", read_arrow),
    "GeoParquet": ({}, "application/vnd.apache.parquet", read_parquet),
}


def follow(ingress: Ingress, parameters: Row, accept: str, read: Read) -> list[tuple[list[Row], Row]]:
    """The pages, from the first to the one without a link."""

    async def asked() -> list[tuple[list[Row], Row]]:
        transport = httpx.ASGITransport(ingress.__serve_build_asgi_app__())
        pages = []
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            href = f"/v1/chips?{urlencode(parameters)}"
            while href:
                answer = await client.get(href, headers={"Accept": accept})
                assert answer.status_code == 200, answer.text
                pages.append(read(answer.content))
                links = pages[-1][1]["links"]
                assert len(links) <= 1
                href = links[0]["href"] if links else ""
        return pages

    return asyncio.run(asked())


@pytest.mark.parametrize("limit", [1, 4, 2000])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", FORMS)
def test_links_lead_to_every_chip(
    alone: Ingress, archive: Archive, form: str, place: str, limit: int
) -> None:
    kept = [
        row
        for row in archive.rows[archive.versions[0]].to_pylist()
        if passes(row, {place: PLACES[place], "collections": ["tests"]})
    ]
    assert len(kept) > 4
    text = json.dumps(TRIANGLE) if place == "intersects" else ",".join(map(str, PLACES["bbox"]))
    layout, accept, read = FORMS[form]
    asked = {place: text, "limit": limit, "fields": FIELDS, "collections": "tests,others"} | layout
    pages = follow(alone, asked, accept, read)
    assert [len(rows) for rows, _ in pages[:-1]] == [limit] * ((len(kept) - 1) // limit)
    for rows, about in pages:
        assert (about["numberMatched"], about["numberReturned"]) == (len(kept), len(rows))
        assert about["snapshot"] == archive.versions[0]
    found = [row for rows, _ in pages for row in rows]
    for row, own in zip(found, kept, strict=True):
        assert row.keys() == {"id", "datetime", "uri", "window", "geometry"}
        wanted = as_json({name: own[name] for name in ("datetime", "uri", "window", "geometry")})
        assert row["id"] == own["chip_id"]
        assert {name: row[name] for name in ("datetime", "uri", "window")} == {
            name: wanted[name] for name in ("datetime", "uri", "window")
        }
        outline = shapely.from_geojson(json.dumps(row["geometry"]))
        assert outline.equals_exact(shapely.from_wkb(own["geometry"]), 1.6 / 1000)
