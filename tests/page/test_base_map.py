"""An operator's own base map: a PMTiles archive that the page draws below the results."""

import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from pmtiles.tile import TileType

from tests.page.base_maps import PLACE, pmtiles, put_pictures
from tests.page.conftest import Visitor
from tests.page.test_map import SEA, colour_at, drawn_after
from tests.pipelines.serve.conftest import Archive

INLAND = 20.0, 5.0
_MAGENTA = np.array((255, 0, 255))


def vectors() -> bytes:
    """A vector tile whose layer "water" covers all of it (Mapbox Vector Tile specification 2.1, 4)."""

    def varint(number: int) -> bytes:
        low, rest = number & 127, number >> 7
        return bytes([low | 128]) + varint(rest) if rest else bytes([low])

    def field(number: int, content: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(content)) + content

    move_to, line_to_three, close = 9, 26, 15
    edge, back = 8192, 8191  # 4096 and -4096
    steps = [move_to, 0, 0, line_to_three, edge, 0, 0, edge, back, 0, close]
    feature = bytes([3 << 3, 3]) + field(4, b"".join(map(varint, steps)))  # a polygon
    version, extent = bytes([15 << 3, 2]), varint(5 << 3) + varint(4096)
    return field(3, version + field(1, b"water") + field(2, feature) + extent)


@pytest.fixture(name="of_vectors")
def of_vectors_fixture(archive: Archive) -> Iterator[None]:
    """Put a base map of vectors in its place."""
    uri = f"{archive.root}/base_map.pmtiles"
    layers = [{"id": "water", "fields": {}}, {"id": "unknown", "fields": {}}]
    archive.store.write(uri, pmtiles(vectors(), TileType.MVT, {"vector_layers": layers}))
    time.sleep(0.5)  # the service looks for a newer one five times a second
    yield
    put_pictures(archive)


def test_ranges(http: httpx.Client, archive: Archive) -> None:
    content = archive.store.read(f"{archive.root}/base_map.pmtiles")
    part = http.get("/v1/base-map", headers={"Range": "bytes=3-9"})
    assert (part.status_code, part.content) == (206, content[3:10])
    assert part.headers["content-range"] == f"bytes 3-9/{len(content)}"
    assert part.headers["etag"]
    assert http.get("/v1/base-map", headers={"Range": f"bytes={len(content) - 2}-"}).content == content[-2:]
    for text in ("bytes=-5", "bytes=5-2", "bytes=0-1,3-4", f"bytes={len(content)}-", "bytes=" + "9" * 5000):
        refused = http.get("/v1/base-map", headers={"Range": text})
        assert (refused.status_code, refused.json()["code"]) == (416, "range_needed"), text
    assert http.get("/v1/base-map").status_code == 416
    assert httpx.get(f"{http.base_url}/v1/base-map").status_code == 401
    assert http.get("/v1/snapshot").json()["base_map"] is True


def test_pictures(visit) -> None:
    visitor: Visitor = visit(color_scheme="light")
    visitor.open()
    until_colour(visitor, PLACE, _MAGENTA)
    assert "Surveyors & Sons" in visitor.page.inner_text(".maplibregl-ctrl-attrib")
    now = visitor.page.evaluate("() => performance.now()")
    visitor.page.click(".layers summary")
    visitor.page.uncheck("text=Base map")
    drawn_after(visitor, now)
    assert np.abs(colour_at(visitor, *PLACE) - _MAGENTA).max() > 50


@pytest.mark.usefixtures("of_vectors")
def test_vectors(visit) -> None:
    visitor: Visitor = visit(color_scheme="light")
    visitor.open()
    until_colour(visitor, INLAND, np.array(SEA))
    visitor.page.click(".layers summary")
    now = visitor.page.evaluate("() => performance.now()")
    visitor.page.uncheck("text=Base map")
    drawn_after(visitor, now)
    assert np.abs(colour_at(visitor, *INLAND) - np.array(SEA)).max() > 5


def test_one_that_cannot_be_read_is_named(visit) -> None:
    visitor: Visitor = visit()
    visitor.page.route("**/v1/base-map", lambda route: route.fulfill(status=503, json={}))
    visitor.open()
    visitor.page.click(".layers summary")
    visitor.page.wait_for_selector("text=Base map: it can\N{RIGHT SINGLE QUOTATION MARK}t be read")
    visitor.page.wait_for_selector("text=Where the archive is")


def until_colour(visitor: Visitor, place: tuple[float, float], wanted: np.ndarray) -> None:
    """Wait until the map has a colour at a place."""
    deadline = time.monotonic() + 20
    while np.abs(colour_at(visitor, *place) - wanted).max() > 2:
        assert time.monotonic() < deadline, colour_at(visitor, *place)
        visitor.page.wait_for_timeout(200)
