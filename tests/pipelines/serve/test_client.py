"""The Python clients, over the real service: every answer equals the brute-force one, sync and async alike.

Shapes: E examples, Y bytes a code, N chips.
"""

import asyncio
import inspect
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pytest
import shapely
from PIL import Image
from pydantic import BaseModel

from model.codes import hamming_distances
from pipelines.api.answers import ErrorBody, SearchAnswer
from pipelines.client import (
    AsyncClient,
    Client,
    CoverageParameters,
    GridRequest,
    HereParameters,
    ImageLimits,
    SearchLimits,
    SearchRequest,
)
from pipelines.errors import (
    InvalidQueryError,
    NotFoundError,
    OtherModelError,
    QueryError,
    SnapshotGoneError,
    UnauthorizedError,
)
from tests.pipelines.serve.conftest import ADMIN_KEY, KEY, Archive, png, wait_for

TRIANGLE = {"type": "Polygon", "coordinates": [[[0.3, 5], [3, 5], [3, 9.1], [0.3, 5]]]}
Row = dict[str, Any]


def found(*pages: SearchAnswer) -> list[tuple[float, str]]:
    return [(match.properties.distance, match.id) for page in pages for match in page.features]


def hexed(code_Y: np.ndarray) -> str:
    return code_Y.tobytes().hex()


def ask(url: str, method: str, *arguments: object, key: str = KEY) -> Any:
    """Call both clients and return the answer, which must be one and the same."""
    with Client(url, key) as client:
        answer = getattr(client, method)(*arguments)
        answer = list(answer) if inspect.isgenerator(answer) else answer

    async def again() -> Any:
        async with AsyncClient(url, key) as client:
            answer = getattr(client, method)(*arguments)
            return [page async for page in answer] if inspect.isasyncgen(answer) else await answer

    assert timeless(asyncio.run(again())) == timeless(answer)
    return answer


def timeless(answer: Any) -> Any:
    """Return the answer without what differs each time: how long it took, which replica said it."""
    if isinstance(answer, list):
        return [timeless(page) for page in answer]
    if not isinstance(answer, BaseModel):
        return answer
    return json.loads(answer.model_dump_json(), object_hook=_without_time)


def _without_time(value: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in ("took_ms", "replica")}


def test_both_clients_have_the_same_methods() -> None:
    sync, asynchronous = (
        {
            name: list(inspect.signature(method).parameters.values())
            for name, method in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }
        for client in (Client, AsyncClient)
    )
    assert sync == asynchronous
    assert len(sync) == 26


def test_every_method(archive: Archive, url: str) -> None:
    content, code_Y, chip = png(archive.pixels(4)), archive.code(4), archive.ids()[4]
    nearest = archive.nearest(code_Y)
    by_id = SearchRequest(chip_ids=(chip,), k=3)
    by_code = SearchRequest(code=hexed(code_Y), max_distance=2)
    without = archive.nearest(code_Y, leave_out=chip)[:3]
    assert found(ask(url, "search", by_id)) == without
    assert found(ask(url, "search", by_code)) == [pair for pair in nearest if pair[0] <= 2]
    assert ask(url, "search", SearchRequest(point=(2.0, 6.0))).numberReturned == 10
    by_values = archive.like_picture(archive.pixels(4))
    assert found(ask(url, "search_image", content, SearchLimits(k=3))) == by_values[:3]
    assert found(ask(url, "search_image", content, ImageLimits(k=3, rank_by="bits"))) == nearest[:3]
    assert ask(url, "search_image", content).numberReturned == 10
    assert ask(url, "encode", content).code == hexed(code_Y)
    assert ask(url, "chip", chip).id == chip
    assert ask(url, "chip", chip, archive.versions[0]).snapshot == archive.versions[0]
    with pytest.raises(SnapshotGoneError):
        ask(url, "chip", chip, 10**6)
    assert ask(url, "thumbnail", chip).startswith(b"\x89PNG")
    assert ask(url, "snapshot").chips == 64
    assert {shard.chips for shard in ask(url, "status", key=ADMIN_KEY).shards} <= {64, 32}
    batch = ask(url, "search_batch", [by_id, SearchRequest(chip_ids=("none",)), by_code]).answers
    assert found(batch[0]) == without
    assert isinstance(batch[1], ErrorBody)
    assert batch[1].code == "no_such_chip"
    assert found(batch[2]) == [pair for pair in nearest if pair[0] <= 2]


def test_pictures_of_each_format(archive: Archive, url: str) -> None:
    for kind, media_type in (("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")):
        content = ask(url, "thumbnail", archive.ids()[4], None, 1, None, media_type)
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == kind
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert np.abs(pixels - archive.pixels(4)).mean() <= (0 if kind == "PNG" else 20)


def test_what_lies_where(archive: Archive, url: str) -> None:
    rows = archive.rows[archive.versions[0]].to_pylist()
    placed = [row for row in rows if row["bbox"] is not None]
    grid = ask(url, "grid", GridRequest(chip_ids=(archive.ids()[0],), max_distance=32))
    assert (grid.in_view, grid.matched) == (len(placed) - (rows[0]["bbox"] is not None), 63)
    assert sum(grid.histogram.counts) == 63
    here = ask(url, "chips", HereParameters(bbox=(0, 5, 3, 9), limit=2000))
    assert here.numberMatched == sum(overlaps(0, 5, 3, 9)(row) for row in rows) > 0
    chip = archive.ids()[archive.row_at("1.tif", 16, 32)]
    dates = ask(url, "dates", chip).features
    assert [feature.id for feature in dates][-1] == chip  # scene 0 lies there too, without a date
    assert len(dates) == 2
    assert sum(ask(url, "coverage").cells.count) == len(placed)
    assert ask(url, "coverage", CoverageParameters(bbox=(60, -40, 61, -39))).cells.count == []
    (collection,) = ask(url, "collections").collections
    assert (collection.id, collection.chips, collection.without_place) == ("tests", 64, 16)
    version = archive.versions[0]
    assert ask(url, "collections", version).snapshot == version
    with pytest.raises(SnapshotGoneError):
        ask(url, "collections", 10**6)


def overlaps(west: float, south: float, east: float, north: float) -> Callable[[Row], bool]:
    """Whether a chip's box touches a box; both may lie over the antimeridian."""

    def spans(first: float, last: float) -> list[tuple[float, float]]:
        return [(first, last)] if first <= last else [(first, 180), (-180, last)]

    def touches(row: Row) -> bool:
        box = row["bbox"]
        return box is not None and any(
            first <= box_last and box_first <= last and south <= box["ymax"] and box["ymin"] <= north
            for first, last in spans(west, east)
            for box_first, box_last in spans(box["xmin"], box["xmax"])
        )

    return touches


def in_triangle(row: Row) -> bool:
    shape = None if row["geometry"] is None else shapely.from_wkb(row["geometry"])
    return shape is not None and bool(shape.intersects(shapely.from_geojson(json.dumps(TRIANGLE))))


FILTERS: list[tuple[dict[str, Any], Callable[[Row], bool]]] = [
    ({"bbox": (0.5, 6, 2.5, 9)}, overlaps(0.5, 6, 2.5, 9)),
    ({"bbox": (179.9, -5, -179.3, 8)}, overlaps(179.9, -5, -179.3, 8)),
    ({"intersects": TRIANGLE}, in_triangle),
    ({"datetime": "2025-01-03T00:00:00Z/.."}, lambda row: row["datetime"] and row["datetime"].day >= 3),
    ({"collections": ("tests", "others")}, lambda row: True),
    ({"collections": ("others",)}, lambda row: False),
    (
        {"bbox": (0, 0, 9, 9), "datetime": "2025-01-02T01:00:00+01:00", "min_valid_fraction": 0.5},
        lambda row: overlaps(0, 0, 9, 9)(row) and row["datetime"] == datetime(2025, 1, 2, tzinfo=UTC),
    ),
]


@pytest.mark.parametrize(("filters", "keeps"), FILTERS, ids=[str(sorted(given)) for given, _ in FILTERS])
def test_filters(archive: Archive, url: str, filters: dict[str, Any], keeps: Callable[[Row], bool]) -> None:
    kept = {row["chip_id"] for row in archive.rows[archive.versions[0]].to_pylist() if keeps(row)}
    assert len(kept) < 64 or "collections" in filters
    limits = {"k": 30, "max_distance": 20} | filters
    wanted = [pair for pair in archive.nearest(archive.code(9)) if pair[1] in kept and pair[0] <= 20][:30]
    by_code = SearchRequest(code=hexed(archive.code(9)), **limits)
    assert found(ask(url, "search", by_code)) == wanted
    by_image = ask(url, "search_image", png(archive.pixels(9)), ImageLimits(**limits, rank_by="bits"))
    assert found(by_image) == wanted
    assert [page.numberReturned for page in ask(url, "pages", by_code)] == [len(wanted)]


def test_several_examples_for_and_against(archive: Archive, url: str) -> None:
    ids = archive.ids()
    codes_NY = np.stack([archive.code(row) for row in range(64)])
    to_positives_N = hamming_distances(codes_NY[[3, 11]], codes_NY).mean(axis=0)
    to_negatives_N = hamming_distances(codes_NY[[40]], codes_NY).mean(axis=0)
    pairs = zip((to_positives_N - to_negatives_N).tolist(), ids, strict=True)
    wanted = sorted(pair for pair in pairs if pair[1] not in (ids[3], ids[11], ids[40]))
    request = SearchRequest(chip_ids=(ids[3], ids[11]), negative_ids=(ids[40],), k=20)
    assert found(ask(url, "search", request)) == wanted[:20]


@pytest.mark.parametrize("limit", [1, 7, 64])
def test_the_pages_have_every_chip_once(archive: Archive, url: str, limit: int) -> None:
    nearest = archive.nearest(archive.code(9))
    limits = {"max_distance": 32, "limit": limit}
    pages = ask(url, "pages", SearchRequest(code=hexed(archive.code(9)), **limits))
    assert found(*pages) == nearest
    assert {page.numberReturned for page in pages[:-1]} <= {limit}
    assert [match.properties.rank for page in pages for match in page.features] == list(range(1, 65))
    nearest = archive.like_picture(archive.pixels(9))
    limits["max_distance"] = 40  # weights are rounded: all 32 bits together may count a little more than 32
    assert found(*ask(url, "image_pages", png(archive.pixels(9)), SearchLimits(**limits))) == nearest


def test_k_ends_the_pages(archive: Archive, url: str) -> None:
    request = SearchRequest(chip_ids=(archive.ids()[9],), k=20, limit=6, bbox=(-180, -90, 180, 90))
    assert [page.numberReturned for page in ask(url, "pages", request)] == [6, 6, 6, 2]


@pytest.mark.parametrize("by_image", [False, True])
def test_all_pages_are_of_one_snapshot(
    archive: Archive, url: str, http: httpx.Client, by_image: bool
) -> None:
    old, new = archive.versions[:2]

    def publish(version: int) -> None:
        archive.publish(version)
        wait_for(http, version)

    with Client(url, KEY) as client:
        limits = {"max_distance": 32, "limit": 30}
        if by_image:
            pages = client.image_pages(png(archive.pixels(9)), ImageLimits(**limits, rank_by="bits"))
        else:
            pages = client.pages(SearchRequest(code=hexed(archive.code(9)), **limits))
        first = next(pages)
        publish(new)
        try:
            rest = list(pages)
            assert client.search(SearchRequest(code="00000000", k=100)).numberMatched == 80
        finally:
            publish(old)
    assert {page.search.snapshot for page in (first, *rest)} == {old}
    assert found(first, *rest) == archive.nearest(archive.code(9))


def refusals(archive: Archive) -> dict[str, tuple[type[QueryError], int, str, tuple[object, ...]]]:
    chip = archive.ids()[0]
    return {
        "chip": (NotFoundError, 404, "no_such_chip", ("a?b#c %",)),
        "thumbnail": (NotFoundError, 404, "no_such_path", ("../../snapshot?",)),
        "search": (OtherModelError, 409, "other_model", (SearchRequest(chip_ids=(chip,), model_id="x@0"),)),
        "pages": (SnapshotGoneError, 410, "not_kept", (SearchRequest(chip_ids=(chip,), snapshot=99),)),
        "encode": (InvalidQueryError, 415, "not_an_image", (b"no image",)),
        "search_image": (InvalidQueryError, 413, "too_large", (b"0" * 300_000,)),
        "status": (UnauthorizedError, 403, "forbidden", ()),
        "image_pages": (
            InvalidQueryError,
            400,
            "bad_token",
            (png(archive.pixels(0)), SearchLimits(token="none")),
        ),
    }


@pytest.mark.parametrize(
    "method", ["chip", "thumbnail", "search", "pages", "encode", "search_image", "status", "image_pages"]
)
def test_errors_are_typed(archive: Archive, url: str, method: str) -> None:
    kind, status, code, arguments = refusals(archive)[method]
    with Client(url, KEY) as client, pytest.raises(kind) as caught:
        list(getattr(client, method)(*arguments))  # pages come one by one
    error = caught.value
    assert (type(error), error.status, error.code) == (kind, status, code)
    assert error.hint
    assert str(error) == f"{error.message} ({code}, {status}); {error.hint}"
    with pytest.raises(kind, match=code):
        ask_async(url, method, arguments)


def ask_async(url: str, method: str, arguments: tuple[object, ...]) -> None:
    async def call() -> None:
        async with AsyncClient(url, KEY) as client:
            answer = getattr(client, method)(*arguments)
            await (anext(answer) if inspect.isasyncgen(answer) else answer)

    asyncio.run(call())


def test_a_missing_key(url: str) -> None:
    with Client(url) as client, pytest.raises(UnauthorizedError, match="Authorization: Bearer"):
        client.snapshot()


def test_threads_share_a_client(archive: Archive, url: str) -> None:
    with Client(url, KEY) as client, ThreadPoolExecutor(8) as pool:
        chips = list(pool.map(client.chip, archive.ids()))
    assert [chip.id for chip in chips] == archive.ids()


def test_an_answer_is_geojson(archive: Archive, url: str) -> None:
    with Client(url, KEY) as client:
        answer = client.search(SearchRequest(code=hexed(archive.code(0)), k=64))
    collection = answer.model_dump(mode="json")
    assert json.loads(answer.model_dump_json()) == collection
    assert (collection["type"], len(collection["features"])) == ("FeatureCollection", 64)
    by_id = {row["chip_id"]: row for row in archive.rows[archive.versions[0]].to_pylist()}
    for feature in collection["features"]:
        assert {"type", "id", "geometry", "properties"} <= feature.keys()  # RFC 7946, 3.2
        row = by_id[feature["id"]]
        if row["geometry"] is None:
            assert feature["geometry"] is None
            assert "bbox" not in feature
        else:
            shape = shapely.from_geojson(json.dumps(feature["geometry"], allow_nan=False))
            stored = shapely.from_wkb(row["geometry"])
            west, south, east, north = stored.bounds
            assert shape.equals_exact(stored, min(east - west, north - south) / 1000)
            assert len(feature["bbox"]) == 4
