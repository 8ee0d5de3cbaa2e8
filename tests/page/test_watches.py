"""Watches on the page: their list, the hits of past nights as the answer, and a watch as a query."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from model.codes import hamming_distances
from pipelines.watch.add import add_watch, remove_watch
from pipelines.watch.config import AddWatchConfig, RemoveWatchConfig, RunWatchesConfig
from pipelines.watch.run import run_watches
from tests.page.test_searching import api
from tests.page.test_visiting import needs_axe, reach
from tests.pipelines.serve.conftest import Archive, wait_for


@dataclass(frozen=True)
class Watched:
    """A watch that has run on two nights."""

    example: str
    max_distance: int
    nights: dict[int, list[dict[str, Any]]]
    """The features of its files by publication, the newest first"""

    def cards(self, *nights: int) -> list[tuple[str, float]]:
        """Id and distance of the cards of some nights; all if none is named."""
        features = [each for night in nights or self.nights for each in self.nights[night]]
        pairs = [(each["id"], each["properties"]["distance"]) for each in features]
        return sorted(pairs, key=lambda pair: pair[1])


@pytest.fixture(scope="module")
def watched(archive: Archive, http) -> Any:
    """`fields` watches one chip; the second night brings a scene with at least one hit."""
    first, second = archive.versions[:2]
    folders = {"watches": f"{archive.root}/watches", "store": archive.store.config}
    known = set(archive.rows[first]["chip_id"].to_pylist())
    new_codes = [row["code"] for row in archive.rows[second].to_pylist() if row["chip_id"] not in known]
    codes_NY = np.stack([np.frombuffer(code, np.uint8) for code in new_codes])
    nearest = int(hamming_distances(archive.code(5)[None], codes_NY).min())
    watch = AddWatchConfig(
        **folders,
        name="fields",
        notes="for Ana",
        table=archive.table,
        chip_id=(archive.ids()[5],),
        max_distance=nearest + 1,
        from_start=True,
    )
    add_watch(watch)
    run = RunWatchesConfig(**folders, output=f"{archive.root}/hits")
    run_watches(run)
    archive.publish(second)
    run_watches(run)
    archive.publish(first)
    wait_for(http, first)
    files = sorted(info.uri for info in archive.store.list(f"{archive.root}/hits/fields"))
    nights = {
        int(uri.rpartition("/")[2].partition(".")[0]): json.loads(archive.store.read(uri))["features"]
        for uri in reversed(files)
        if uri.endswith(".geojson")
    }
    assert len(nights) == 2
    yield Watched(archive.ids()[5], nearest + 1, nights)
    remove_watch(RemoveWatchConfig(**folders, name="fields"))
    archive.store.remove_folder(f"{archive.root}/hits")


@needs_axe
def test_the_hits_of_a_watch_by_key_and_by_link(watched: Watched, visit) -> None:
    visitor = visit()
    visitor.open()
    visitor.page.wait_for_selector(".tools >> text=Watches")
    visitor.page.keyboard.press("w")
    visitor.page.wait_for_selector(".watches .hits")
    said = visitor.page.inner_text(".watches .hits")
    for text in ("fields", "for Ana", f"{watched.max_distance} bit", f"{len(watched.cards())} hits"):
        assert text in said
    assert visitor.violations() == [], "the list"
    reach(visitor, ".watches .hits")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector(".card img")
    assert visitor.cards() == watched.cards()
    assert f"{len(watched.cards())} hits" in visitor.page.inner_text(".results .status")
    assert visitor.page.evaluate("location.hash") == "#watch=fields"
    assert visitor.violations() == [], "the hits"
    newest, before = watched.nights
    fresh = visitor.page.locator(".card", has=visitor.page.locator(".fresh")).locator(".open")
    assert {fresh.nth(each).get_attribute("data-id") for each in range(fresh.count())} <= {
        chip_id for chip_id, _ in watched.cards(newest)
    }
    west, south, east, north = next(each["bbox"] for each in watched.nights[newest] if "bbox" in each)
    visitor.page.mouse.move(*visitor.at((west + east) / 2, (south + north) / 2))
    visitor.page.wait_for_selector(".under-pointer")
    visitor.page.select_option(".watch select", str(before))
    visitor.settle()
    visitor.page.focus(".watch select")
    visitor.page.keyboard.press("c")
    assert not visitor.page.locator("dialog[open]").count(), "a list to choose from has its own keys"
    assert visitor.cards() == watched.cards(before)
    other = visit(color_scheme="dark")
    other.open("#watch=fields")
    other.page.wait_for_selector(".card img")
    assert other.cards() == watched.cards()
    assert other.violations() == [], "the hits in dark colours"


def test_a_watch_as_a_query_and_back(watched: Watched, http, visit) -> None:
    visitor = visit()
    visitor.open("#watch=fields")
    visitor.page.wait_for_selector(".card")
    visitor.page.click(".watch >> text=Back to the query")
    visitor.page.wait_for_selector(".state")
    assert "What are you looking for?" in visitor.page.inner_text(".state")
    visitor.page.keyboard.press("w")
    visitor.page.click("[aria-label='Open as a query: fields']")
    visitor.page.wait_for_selector(".card")
    visitor.settle()
    asked = {"chip_ids": [watched.example], "max_distance": watched.max_distance}
    assert visitor.cards() == api(http, **asked)
    chosen = visitor.ids()[0]
    visitor.page.keyboard.press("w")
    visitor.page.click(".watches .hits")
    visitor.page.wait_for_selector(".watch select")
    assert visitor.cards() == watched.cards()
    visitor.page.click(".watch >> text=Back to the query")
    visitor.page.wait_for_selector(".watch", state="detached")
    visitor.settle()
    assert visitor.ids()[0] == chosen
    assert visitor.cards() == api(http, **asked)


def test_a_link_to_a_watch_that_isn_t_there(watched: Watched, visit) -> None:
    visitor = visit()
    visitor.open("#watch=nobody")
    visitor.page.wait_for_selector(".state")
    said = visitor.page.inner_text(".state")
    assert "show these hits" in said
    assert "no_such_watch" in said
    visitor.page.click(".watch >> text=Back to the query")
    visitor.page.wait_for_selector("text=What are you looking for?")
