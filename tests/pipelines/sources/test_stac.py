"""Static STAC written with pystac, and a small STAC API over HTTP."""

import json
import operator
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pystac
import pytest

from pipelines.config import StoreConfig
from pipelines.encode.config import EncodeConfig
from pipelines.errors import ConfigError, ScenehashError, StorageError
from pipelines.runtime.spill import read_spilled
from pipelines.sources.listing import list_source
from pipelines.storage.store import Store

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
SHARED = Path("../shared/data/geotiff/stac")


def listed(store, folder: Path, source: str, **fields: object) -> dict[str, dict]:
    """Return the rows of a source by uri."""
    folder.mkdir(exist_ok=True)
    config = EncodeConfig(source=source, table="t", bundle="b", store=store.config, **fields)
    listing = list_source(config, store, folder)
    return {row["uri"]: row for table in read_spilled(listing.objects) for row in table.to_pylist()}


def make_item(root: str, number: int, **properties: object) -> pystac.Item:
    item = pystac.Item(
        id=f"scene-{number}",
        geometry={"type": "Point", "coordinates": [number, 0]},
        bbox=[number, 0, number, 0],
        datetime=JUNE + timedelta(days=number),
        properties={"eo:cloud_cover": 10 * number, "platform": "p"} | properties,
    )
    item.add_asset("image", pystac.Asset(f"{root}/imagery/{number}.tif", roles=["data"]))
    item.add_asset("thumbnail", pystac.Asset(f"{root}/imagery/{number}.png", roles=["thumbnail"]))
    return item


@pytest.fixture
def catalog(store, any_root, tmp_path) -> str:
    """Five items in a collection of a catalog, and two beside it; of the imagery one file is there."""
    root = pystac.Catalog("root", "of all")
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[JUNE, None]])
    )
    collection = pystac.Collection("aerial", "of some", extent)
    root.add_child(collection)
    collection.add_items(make_item(any_root, number) for number in range(5))
    root.add_items([make_item(any_root, 5, updated="2026-07-01T00:00:00Z"), make_item(any_root, 6)])
    next(root.get_items("scene-6")).assets["image"].extra_fields["file:checksum"] = "1220abcd"
    written = tmp_path / "written"
    root.normalize_and_save(str(written), pystac.CatalogType.SELF_CONTAINED)
    for file in written.rglob("*.json"):
        store.write(f"{any_root}/stac/{file.relative_to(written)}", file.read_bytes())
    store.write(f"{any_root}/imagery/0.tif", b"0")
    return any_root


def test_a_static_catalog_is_walked(store, catalog, tmp_path):
    rows = listed(store, tmp_path / "work", f"{catalog}/stac/catalog.json")
    assert set(rows) == {f"{catalog}/imagery/{number}.tif" for number in range(7)}
    by_number = [rows[f"{catalog}/imagery/{number}.tif"] for number in range(7)]
    assert [row["datetime"] for row in by_number] == [JUNE + timedelta(days=number) for number in range(7)]
    assert [row["collection"] for row in by_number] == ["aerial"] * 5 + ["default"] * 2
    assert dict(by_number[3]["properties"]) == {"eo:cloud_cover": "30", "platform": "p"}
    (info,) = store.list(f"{catalog}/imagery")
    assert [row["etag"] for row in by_number] == [
        info.etag, "", "", "", "", "updated=2026-07-01T00:00:00Z", "checksum=1220abcd"
    ]  # fmt: skip
    assert by_number[5]["modified"] == datetime(2026, 7, 1, tzinfo=UTC)


def test_a_collection_or_an_item_is_a_source_too(store, catalog, tmp_path):
    rows = listed(store, tmp_path / "work", f"{catalog}/stac/aerial/collection.json", asset="thumbnail")
    assert set(rows) == {f"{catalog}/imagery/{number}.png" for number in range(5)}
    rows = listed(store, tmp_path / "work", f"{catalog}/stac/scene-6/scene-6.json")
    assert [row["datetime"] for row in rows.values()] == [JUNE + timedelta(days=6)]


def test_a_catalog_between_two_times(store, catalog, tmp_path):
    times = {"since": JUNE + timedelta(days=1), "until": JUNE + timedelta(days=3)}
    rows = listed(store, tmp_path / "work", f"{catalog}/stac/catalog.json", **times)
    assert set(rows) == {f"{catalog}/imagery/{number}.tif" for number in (1, 2)}


def test_an_item_collection_in_one_file(store, root, tmp_path):
    features = pystac.ItemCollection([make_item(root, number) for number in range(3)])
    store.write(f"{root}/items.geojson", json.dumps(features.to_dict()).encode())
    assert len(listed(store, tmp_path / "work", f"{root}/items.geojson")) == 3


def test_which_asset_must_be_clear(store, root, tmp_path):
    item = make_item(root, 0)
    item.assets["image"].roles = None
    store.write(f"{root}/item.json", json.dumps(item.to_dict()).encode())
    with pytest.raises(ConfigError, match="the assets image, thumbnail; say which is the image with --asset"):
        listed(store, tmp_path / "work", f"{root}/item.json")
    with pytest.raises(StorageError, match="it names no object"):
        listed(store, tmp_path / "work", f"{root}/item.json", asset="B04")


def test_a_link_to_nothing_is_told(store, root, tmp_path):
    catalog = pystac.Catalog("c", "d")
    catalog.add_link(pystac.Link("item", "./gone.json"))
    store.write(f"{root}/catalog.json", json.dumps(catalog.to_dict()).encode())
    with pytest.raises(StorageError, match=r"gone\.json doesn't exist"):
        listed(store, tmp_path / "work", f"{root}/catalog.json")


def test_real_catalogs(store, tmp_path):
    if not SHARED.exists():
        pytest.skip(f"no STAC files at {SHARED}")
    source = str(SHARED / "planet-example-v1.0.0-beta.2/collection.json")
    rows = listed(store, tmp_path / "work", source)
    assert len(rows) == 5
    assert all(row["datetime"].date().isoformat() == "2017-08-31" for row in rows.values())
    assert {row["collection"] for row in rows.values()} == {"planet-disaster-data"}
    assert listed(store, tmp_path / "work", str(SHARED / "item-naip.json"), asset="CO_GEOTIFF_AWS_RGB")


CONFORMS = "https://api.stacspec.org/v1.0.0/"
SEARCH_FIELDS = {"collections", "bbox", "datetime", "limit", "query", "filter", "filter-lang", "token"}
COMPARISONS = {
    "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge,
    "eq": operator.eq, "neq": operator.ne,
}  # fmt: skip
SIGNS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "=": "eq", "<>": "neq"}


class Api(BaseHTTPRequestHandler):
    """STAC API 1.0.0: core and item search, three items a page; it takes POST alone.

    Query extension: https://github.com/stac-api-extensions/query, v1.0.0; Filter extension:
    https://github.com/stac-api-extensions/filter, v1.0.0, of CQL2 text only comparisons joined by AND.
    """

    root: str
    asked: list[dict]
    conforms = ("core", "item-search", "item-search#query", "item-search#filter")

    def do_GET(self) -> None:
        base = f"http://127.0.0.1:{self.server.server_port}"
        landing = {
            "type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "d",
            "conformsTo": [CONFORMS + name for name in self.conforms],
            "links": [
                {"rel": "self", "href": base}, {"rel": "root", "href": base},
                {"rel": "search", "href": f"{base}/search", "method": "POST", "type": "application/geo+json"},
            ],
        }  # fmt: skip
        if self.path in ("", "/"):
            self.answer(200, landing)
        else:
            self.answer(404, {"code": "NotFound", "description": "no such page"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(asked)
        if asked.get("collections") == ["refused"]:
            self.answer(400, {"code": "BadRequest", "description": "no such collection"})
            return
        if problem := self.problem(asked):
            self.answer(400, {"code": "BadRequest", "description": problem})
            return
        start = asked.get("token", 0)
        found = [
            item for item in (make_item(self.root, number) for number in range(7)) if wanted(item, asked)
        ]
        items = found[start : start + 3]
        for item in items:
            item.collection_id = "aerial"
        answer = pystac.ItemCollection(items).to_dict()
        if start + 3 < len(found):
            href = f"http://127.0.0.1:{self.server.server_port}/search"
            body = asked | {"token": start + 3}
            answer["links"] = [{"rel": "next", "href": href, "method": "POST", "body": body}]
        self.answer(200, answer)

    def problem(self, asked: dict) -> str | None:
        """Return what the specifications have against a search."""
        if not asked.keys() <= SEARCH_FIELDS:
            return f"unknown: {asked.keys() - SEARCH_FIELDS}"
        # the language of a filter that is sent by POST is JSON unless it is named (Filter extension)
        if "filter" in asked and asked.get("filter-lang", "cql2-json") != "cql2-text":
            return "this server knows CQL2 text only"
        if self.headers["Content-Type"] != "application/json":
            return "a search is JSON"
        return None

    def answer(self, status: int, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Yield the address of a server that answers so."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def wanted(item: pystac.Item, asked: dict) -> bool:
    """Return whether an item fulfils ``query`` and ``filter``."""
    said = item.properties
    conditions = [
        (name, sign, value)
        for name, of_name in asked.get("query", {}).items()
        for sign, value in of_name.items()
    ]
    for text in asked.get("filter", "").split(" AND ") if "filter" in asked else ():
        name, sign, value = text.split(" ")
        conditions.append((name, SIGNS[sign], json.loads(value.replace("'", '"'))))
    return all(COMPARISONS[sign](said[name], value) for name, sign, value in conditions)


@pytest.fixture
def api(root) -> Iterator[tuple[str, list[dict]]]:
    """A running API's address, and what it has been asked."""
    handler = type("RunningApi", (Api,), {"root": root, "asked": []})
    with running(handler) as url:
        yield url, handler.asked


def test_an_api_is_searched_page_by_page(store, root, api, tmp_path):
    url, asked = api
    search = {
        "collections": ("aerial",),
        "bbox": (0, 0, 9, 9),
        "query": ("eo:cloud_cover<70", "platform=p", "eo:cloud_cover>=0"),
    }
    rows = listed(store, tmp_path / "work", url, search=search)
    assert set(rows) == {f"{root}/imagery/{number}.tif" for number in range(7)}
    assert {row["collection"] for row in rows.values()} == {"aerial"}
    assert len(asked) == 3
    assert asked[0]["collections"] == ["aerial"]
    assert asked[0]["bbox"] == [0, 0, 9, 9]
    assert asked[0]["query"] == {"eo:cloud_cover": {"lt": 70, "gte": 0}, "platform": {"eq": "p"}}


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ({"query": ("eo:cloud_cover<30",)}, {0, 1, 2}),
        ({"query": ("eo:cloud_cover>=20", "eo:cloud_cover!=40", "platform=p")}, {2, 3, 5, 6}),
        ({"query": ("platform=q",)}, set()),
        ({"filter": "eo:cloud_cover < 30"}, {0, 1, 2}),
        ({"filter": "eo:cloud_cover >= 20 AND platform = 'p' AND eo:cloud_cover <> 40"}, {2, 3, 5, 6}),
        ({"filter": "eo:cloud_cover > 10", "query": ("eo:cloud_cover<=30",)}, {2, 3}),
    ],
)
def test_an_api_finds_what_fulfils_the_conditions(store, root, api, tmp_path, search, found):
    url, asked = api
    if not found:
        with pytest.raises(StorageError, match="it names no object"):
            listed(store, tmp_path / "work", url, search=search)
    else:
        rows = listed(store, tmp_path / "work", url, search=search)
        assert set(rows) == {f"{root}/imagery/{number}.tif" for number in found}
    assert asked[0].get("filter") == search.get("filter")
    assert asked[0].get("filter-lang") == ("cql2-text" if "filter" in search else None)
    assert ("query" in asked[0]) == ("query" in search)


@pytest.mark.parametrize("search", [{"filter": "eo:cloud_cover < 30"}, {"query": ("eo:cloud_cover<30",)}])
def test_conditions_that_an_api_may_pass_over_are_told(store, api, tmp_path, monkeypatch, search):
    monkeypatch.setattr(Api, "conforms", ("core", "item-search"))
    (name,) = search
    with pytest.raises(
        ConfigError, match=f"doesn't say .*item-search#{name}: it may pass over search.{name}"
    ):
        listed(store, tmp_path / "work", api[0], search=search)
    assert api[1] == [], "nothing was searched for"


def test_an_api_is_told_the_time_and_checked(store, root, api, tmp_path):
    url, asked = api
    rows = listed(store, tmp_path / "work", url, since=JUNE, until=JUNE + timedelta(days=2))
    assert set(rows) == {f"{root}/imagery/{number}.tif" for number in range(2)}  # this API ignores it
    assert asked[0]["datetime"] == "2026-06-01T00:00:00+00:00/2026-06-03T00:00:00+00:00"


def test_an_api_gives_so_many_items_at_most(store, api, tmp_path):
    assert len(listed(store, tmp_path / "work", api[0], search={"max_items": 4})) == 4


def test_what_an_api_refuses_is_told(store, api, tmp_path):
    with pytest.raises(ConfigError, match="write name<value"):
        listed(store, tmp_path / "work", api[0], search={"query": ("cloudy",)})
    with pytest.raises(ConfigError, match="no such collection"):
        listed(store, tmp_path / "work", api[0], search={"collections": ("refused",)})
    with pytest.raises(ScenehashError, match="STAC API"):
        listed(store, tmp_path / "work", f"{api[0]}/elsewhere")
    with pytest.raises(StorageError, match="can't be reached"):
        listed(Store(StoreConfig(patience=0.1)), tmp_path / "work", "http://127.0.0.1:1/stac")
