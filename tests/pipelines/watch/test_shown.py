"""What the service shows of watches that really ran: the API over their files, on disk and in the bucket."""

import asyncio
import json
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import APIRouter, FastAPI

from pipelines.api.watches import HitsAnswer, WatchesAnswer
from pipelines.config import StoreConfig
from pipelines.serve.config import ServeConfig
from pipelines.serve.prometheus import RequestMetrics
from pipelines.serve.refusals import add_handlers
from pipelines.serve.watch_routes import WatchRoutes
from pipelines.serve.watches import Watches
from tests.pipelines.watch.conftest import Site, code_at


class Service:
    """The routes of watches alone, as the service has them."""

    def __init__(self, **config: Any) -> None:
        app, router = FastAPI(), APIRouter()
        WatchRoutes(Watches.of(ServeConfig(table="t", open=True, **config))).add_to(router)
        app.include_router(router)
        add_handlers(app, RequestMetrics())
        self.app = app

    def get(self, path: str, **params: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.get(path, params=params or None)

        return asyncio.run(ask())

    def watches(self) -> WatchesAnswer:
        return WatchesAnswer.model_validate_json(self.get("/v1/watches").content)

    def hits(self, watch: str = "ships", **params: Any) -> HitsAnswer:
        return HitsAnswer.model_validate_json(self.get(f"/v1/watches/{watch}/hits", **params).content)

    def pages(self, limit: int, **params: Any) -> list[list[str]]:
        """The ids of all pages, by their links."""
        answer, found = self.hits(limit=limit, **params), []
        while True:
            found.append([hit.id for hit in answer.features])
            if not answer.links:
                return found
            answer = HitsAnswer.model_validate_json(self.get(answer.links[0].href).content)

    def refused(self, path: str, **params: Any) -> tuple[int, str]:
        answer = self.get(path, **params)
        return answer.status_code, answer.json()["code"]


def service_of(site: Site) -> Service:
    folders = {"watches": f"{site.root}/watches/", "watch_hits": f"{site.root}/hits"}
    return Service(store=site.store.config, **folders)


def test_the_hits_of_all_nights_are_those_of_the_files(site: Site) -> None:
    service = service_of(site)
    assert service.watches() == WatchesAnswer(configured=True, watches=[], unreadable=[])
    site.night_of({"old": code_at(1)})
    site.add(notes="the harbour", bbox="-180,-90,180,90")
    before = service.watches().watches[0]
    assert (before.ran_at, before.publication, before.hits) == (None, 1, 0)
    assert service.hits().features == []
    for night, codes in enumerate(([code_at(3), code_at(1)], [code_at(2), code_at(4)]), 2):
        site.night_of({f"n{night}": np.concatenate(codes)})
        site.run()
    [watch] = service.watches().watches
    assert (watch.name, watch.notes, watch.max_distance, watch.compare) == ("ships", "the harbour", 4, "both")
    assert (watch.publication, watch.hits, watch.example.code) == (3, 4, "00000000")
    assert watch.filters.bbox == (-180, -90, 180, 90)
    assert watch.ran_at is not None
    answer = service.hits()
    assert [hit.id for hit in answer.features] == ["n3-0", "n3-1", "n2-1", "n2-0"]
    files = [json.loads(site.store.read(f"{site.root}/hits/ships/{night:06}.geojson")) for night in (3, 2)]
    features = service.get("/v1/watches/ships/hits").json()["features"]
    assert features == [feature for file in files for feature in file["features"]]
    assert [night.publication for night in answer.nights] == [3, 2]
    assert (answer.numberReturned, answer.links) == (4, [])
    assert service.pages(limit=3) == [["n3-0", "n3-1", "n2-1"], ["n2-0"]]
    assert service.pages(limit=2) == [["n3-0", "n3-1"], ["n2-1", "n2-0"]]
    assert service.pages(limit=1, to_publication=2) == [["n2-1"], ["n2-0"]]
    assert service.pages(limit=9, from_publication=3) == [["n3-0", "n3-1"]]
    assert service.hits(from_publication=4).features == []
    assert site.root not in service.get("/v1/watches").text


def test_a_file_of_many_megabytes_is_read_in_pieces(local_site: Site) -> None:
    site, chips = local_site, 6000
    site.night_of({"\N{LATIN SMALL LETTER O WITH DIAERESIS}l": np.repeat(code_at(2), chips, 0)})
    site.add(from_start=True)
    site.run()
    [size] = [info.size for info in site.store.list(f"{site.root}/hits") if info.uri.endswith(".geojson")]
    assert size > 2 << 20
    pages = service_of(site).pages(limit=2000)
    file = json.loads(site.store.read(f"{site.root}/hits/ships/000001.geojson"))
    assert [chip for page in pages for chip in page] == [feature["id"] for feature in file["features"]]
    assert sum(map(len, pages)) == chips
    assert max(map(len, pages)) <= 2000


def test_more_nights_than_a_page_reads(local_site: Site) -> None:
    site = local_site
    site.night_of({"old": code_at(1)})
    site.add(from_start=True)
    site.run()
    file = site.store.read(f"{site.root}/hits/ships/000001.geojson")
    for night in range(2, 71):
        site.store.write(f"{site.root}/hits/ships/{night:06}.geojson", file)
    assert [len(page) for page in service_of(site).pages(limit=100)] == [64, 6]


def test_files_of_a_watch_that_was_replaced_aren_t_shown(local_site: Site) -> None:
    site = local_site
    site.night_of({"old": code_at(1)})
    site.add(from_start=True)
    site.run()
    site.add(replace=True)
    service = service_of(site)
    assert service.hits().nights == []
    site.night_of({"new": code_at(1)})
    site.run()
    assert [hit.id for hit in service.hits().features] == ["new-0"]
    assert service.watches().watches[0].hits == 1


def test_a_watch_that_isn_t_valid_hides_no_other(local_site: Site) -> None:
    site = local_site
    site.night_of({"old": code_at(1)})
    site.add()
    site.store.write(f"{site.root}/watches/torn.json", b"{}")
    service = service_of(site)
    assert ([watch.name for watch in service.watches().watches], service.watches().unreadable) == (
        ["ships"],
        ["torn"],
    )
    assert service.refused("/v1/watches/torn/hits") == (502, "watch_unreadable")
    site.store.write(f"{site.root}/hits/ships/000002.geojson", b"{}")
    assert service.refused("/v1/watches/ships/hits") == (502, "watch_unreadable")


@pytest.mark.parametrize(
    ("path", "params", "refusal"),
    [
        ("boats/hits", {}, (404, "no_such_watch")),
        ("ships/hits", {"after": "9-0"}, (400, "bad_token")),
        ("ships/hits", {"after": "1-50"}, (400, "bad_token")),
        ("ships/hits", {"after": "1-999999999"}, (400, "bad_token")),
        ("ships/hits", {"after": "first"}, (422, "invalid")),
        ("ships/hits", {"limit": 0}, (422, "invalid")),
        ("ships.state/hits", {}, (422, "invalid")),
    ],
)
def test_what_is_refused(
    local_site: Site, path: str, params: dict[str, Any], refusal: tuple[int, str]
) -> None:
    site = local_site
    site.night_of({"old": code_at(1)})
    site.add(from_start=True)
    site.run()
    assert service_of(site).refused(f"/v1/watches/{path}", **params) == refusal


def test_a_service_without_watches_says_so() -> None:
    service = Service()
    assert service.watches() == WatchesAnswer(configured=False, watches=[], unreadable=[])
    assert service.refused("/v1/watches/ships/hits") == (404, "no_such_watch")
    with pytest.raises(ValueError, match="watches and watch_hits go together"):
        Service(watches="w")


def test_a_store_that_is_down_is_named_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")  # without keys the store isn't even asked
    store = StoreConfig(endpoint="http://127.0.0.1:9", patience=0.1)
    service = Service(watches="s3://secret/watches", watch_hits="s3://secret/hits", store=store)
    answer = service.get("/v1/watches")
    assert (answer.status_code, answer.json()["code"]) == (503, "watches_unavailable")
    assert answer.headers["Retry-After"]
    assert "secret" not in answer.text
