"""The Python clients' tables and frames, over the real service: what the table's rows say, on all pages."""

import asyncio
from typing import Any

import pytest
import shapely

from pipelines.client import (
    AsyncClient,
    ChangesRequest,
    Client,
    DatesParameters,
    Fields,
    HereParameters,
    ImageLimits,
    SearchLimits,
    SearchRequest,
)
from pipelines.errors import InvalidQueryError
from tests.pipelines.serve.conftest import KEY, Archive, png
from tests.pipelines.serve.divided import passes
from tests.pipelines.serve.test_client import TRIANGLE, ask, hexed


def ask_for_table(url: str, method: str, *arguments: object) -> Any:
    """Call both clients for a table or a frame and return it; what they say must be the same."""
    with Client(url, KEY) as client:
        answer = getattr(client, method)(*arguments)

    async def again() -> Any:
        async with AsyncClient(url, KEY) as client:
            return await getattr(client, method)(*arguments)

    assert asyncio.run(again()).equals(answer)
    return answer


def test_tables_and_frames_hold_all_pages(archive: Archive, url: str) -> None:
    request = SearchRequest(code=hexed(archive.code(9)), k=60, limit=25)
    nearest = archive.nearest(archive.code(9))[:60]
    table = ask_for_table(url, "table", request)
    assert list(zip(table["distance"].to_pylist(), table["id"].to_pylist(), strict=True)) == nearest
    frame = ask_for_table(url, "frame", request)
    assert frame.index.tolist() == [chip_id for _, chip_id in nearest]
    assert (frame.crs, frame.attrs["numberReturned"]) == ("EPSG:4326", 60)
    few = request.model_copy(update={"fields": Fields(include=("id", "rank"))})
    assert ask_for_table(url, "table", few).column_names == ["id", "rank"]
    pairs = ask_for_table(url, "frame", ChangesRequest())
    assert len(pairs) == ask(url, "changes", ChangesRequest()).numberMatched > 0
    with pytest.raises(InvalidQueryError, match="whole features"):
        ask(url, "search", few)


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("place", ["bbox", "intersects"])
def test_what_lies_here_as_one_frame(archive: Archive, url: str, place: str, limit: int | None) -> None:
    wanted = {"bbox": (0, 5, 3, 9), "intersects": TRIANGLE}[place]
    kept = [row for row in archive.rows[archive.versions[0]].to_pylist() if passes(row, {place: wanted})]
    assert len(kept) > 10
    given = {place: wanted} | ({} if limit is None else {"limit": limit})
    request = HereParameters.model_validate(given)
    frame = ask_for_table(url, "frame", request)
    assert frame.index.tolist() == [row["chip_id"] for row in kept]
    assert shapely.to_wkb(frame.geometry.array).tolist() == [row["geometry"] for row in kept]
    assert (frame.crs, frame.attrs["numberReturned"]) == ("EPSG:4326", len(kept))
    named = request.model_copy(update={"fields": Fields(include=("id", "uri", "properties.etag"))})
    table = ask_for_table(url, "table", named)
    assert table.to_pylist() == [
        {"id": row["chip_id"], "uri": row["uri"], "etag": row["etag"]} for row in kept
    ]


@pytest.mark.parametrize("limit", [None, 20])
def test_an_answer_to_an_image_as_one_frame(archive: Archive, url: str, limit: int | None) -> None:
    given = {} if limit is None else {"limit": limit}
    for limits, wanted in (
        (SearchLimits(k=50, **given), archive.like_picture(archive.pixels(4))[:50]),
        (ImageLimits(max_distance=32, rank_by="bits", **given), archive.nearest(archive.code(4))),
    ):
        fields = Fields(include=("id", "distance", "geometry"))
        some = limits.model_copy(update={"fields": fields})
        frame = ask_for_table(url, "image_frame", png(archive.pixels(4)), some)
        assert list(zip(frame["distance"], frame.index, strict=True)) == wanted
        assert list(frame.columns) == ["distance", "geometry"]
    with Client(url, KEY) as client:
        assert client.image_table(png(archive.pixels(4))).num_rows == 10


def test_the_dates_of_a_place_as_a_frame(archive: Archive, url: str) -> None:
    chip = archive.ids()[archive.row_at("1.tif", 16, 32)]
    features = ask(url, "dates", chip).features
    frame = ask_for_table(url, "dates_frame", chip)
    assert frame.index.tolist() == [feature.id for feature in features]
    assert frame["distance"].tolist() == [feature.properties["distance"] for feature in features]
    last = ask_for_table(url, "dates_frame", chip, DatesParameters(limit=1))
    assert last.index.tolist() == [chip]


def test_features_with_some_fields(archive: Archive, url: str) -> None:
    fields, box = Fields(include=("id", "collection")), (0.0, 5.0, 3.0, 9.0)
    here = ask(url, "chips", HereParameters(bbox=box, fields=fields))
    kept = [row for row in archive.rows[archive.versions[0]].to_pylist() if passes(row, {"bbox": box})]
    assert [feature.id for feature in here.features] == [row["chip_id"] for row in kept]
    chip = archive.ids()[archive.row_at("1.tif", 16, 32)]
    dates = ask(url, "dates", chip, DatesParameters(fields=fields))
    pairs = ask(url, "changes", ChangesRequest(fields=fields))
    for answer in (here, dates, pairs):
        assert answer.features
        for feature in answer.features:
            assert (feature.geometry, feature.properties) == (None, {"collection": "tests"})
    for method, request in (
        ("chips", HereParameters(bbox=box, format="columns")),
        ("changes", ChangesRequest(format="columns")),
    ):
        with pytest.raises(InvalidQueryError, match="take a table or frame"):
            ask(url, method, request)
