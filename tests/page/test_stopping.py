"""What takes its time can be stopped; the page says what is there then, and no state violates WCAG."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.page.test_export import CHIPS_A_PAGE, SMALL_PAGES
from tests.page.test_visiting import needs_axe
from tests.pipelines.serve.conftest import Archive

_NOTE_AT_FIRST = """
new MutationObserver(() => {
  const button = document.querySelector('.results .late');
  if (button) window.atFirst ??= getComputedStyle(button).visibility;
}).observe(document.querySelector('.results'), { subtree: true, childList: true });
"""


def hold(visitor, path: str, first: int = 0) -> list[Any]:
    """Hold all requests for a path but the first ones: no service can be told to take its time."""
    held: list[Any] = []
    passed = 0

    def decide(route: Any) -> None:
        nonlocal passed
        passed += 1
        if passed <= first:
            route.continue_()
        else:
            held.append(route)

    visitor.page.route(f"**{path}", decide)
    return held


def wait_until_asked(visitor, held: list[Any]) -> None:
    while not held:
        visitor.page.wait_for_timeout(20)


def with_export_open(archive: Archive, visit) -> Any:
    """A visitor before the export of an answer of several small pages."""
    visitor = visit(accept_downloads=True)
    visitor.page.add_init_script(SMALL_PAGES)
    visitor.open(f"#for={archive.ids()[5]}&cutoff=30")
    visitor.page.wait_for_selector(".card")
    visitor.page.keyboard.press("e")
    visitor.page.wait_for_selector("dialog[open] .actions")
    return visitor


def text_of_focus(visitor) -> str:
    said: str = visitor.page.evaluate("document.activeElement.textContent")
    return said


@needs_axe
def test_a_search(archive: Archive, visit) -> None:
    visitor = visit()
    hold(visitor, "/v1/search")
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.click(".results .late")
    visitor.page.wait_for_selector(".state h3")
    assert visitor.page.inner_text(".state h3") == "The search was stopped"
    assert visitor.page.inner_text(".state p") == "Nothing is lost: the query stays as it is."
    assert visitor.page.locator(".progress.on").count() == 0
    assert text_of_focus(visitor) == "Search again"
    assert visitor.violations() == []
    visitor.page.unroute("**/v1/search")
    assert visitor.page.inner_text(".results .status") == "Stopped"
    held = hold(visitor, "/v1/search")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector(".state", state="detached")
    assert visitor.page.inner_text(".results .status") == "Searching\N{HORIZONTAL ELLIPSIS}"
    wait_until_asked(visitor, held)
    held[0].continue_()
    visitor.page.wait_for_selector(".card")
    visitor.page.wait_for_function("() => document.activeElement.matches('.card .open')")


def test_a_search_beside_an_older_answer(archive: Archive, visit) -> None:
    visitor = visit(accept_downloads=True)
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    before = visitor.cards()
    hold(visitor, "/v1/search")
    visitor.page.evaluate(_NOTE_AT_FIRST)
    visitor.page.focus(".card .open")
    visitor.page.keyboard.press("p")
    visitor.page.click(".results .late")
    assert visitor.page.evaluate("window.atFirst") == "hidden", "a search of usual length shows no button"
    visitor.page.wait_for_selector(".state")
    assert "those of the search before" in visitor.page.inner_text(".state p")
    assert visitor.cards() == before
    visitor.page.unroute("**/v1/search")
    visitor.page.keyboard.press("e")
    visitor.page.wait_for_selector(f"dialog[open] >> text=All {len(before)} chips")
    with visitor.page.expect_download() as download:
        visitor.page.click("dialog[open] >> button:has-text('GeoJSON')")
    features = json.loads(Path(download.value.path()).read_text())["features"]
    exported = [(each["id"], each["properties"]["distance"]) for each in features]
    assert exported == before, "what is shown, not what was stopped"
    visitor.page.keyboard.press("Escape")
    visitor.page.wait_for_selector("dialog[open]", state="detached")
    visitor.page.unroute("**/v1/search")
    visitor.page.click(".state >> text=Undo the last change")
    visitor.page.wait_for_selector(".state", state="detached")
    visitor.settle()
    assert visitor.cards() == before


@needs_axe
def test_the_heat(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    held = hold(visitor, "/v1/search/grid")
    visitor.page.click(".layers summary")
    heat = visitor.page.get_by_role("checkbox", name="Heat of the whole archive")
    heat.check()
    visitor.page.wait_for_selector("text=Counting the whole archive")
    assert visitor.violations() == [], "while it is counted"
    visitor.page.click(".layers >> text=Stop")
    visitor.page.wait_for_selector("text=Counting the whole archive", state="detached")
    assert held, "it was asked for"
    assert not heat.is_checked()
    assert visitor.page.evaluate("document.activeElement.matches('.layers summary')")
    assert not visitor.page.is_visible(".notice.on")
    assert visitor.page.locator(".state").count() == 0


def test_a_heat_that_fails_leaves_the_answer(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    visitor.page.click(".layers summary")
    visitor.page.context.set_offline(True)
    heat = visitor.page.get_by_role("checkbox", name="Heat of the whole archive")
    heat.click()  # it may be unchecked again by the time that `check` looks
    visitor.page.wait_for_selector(".notice.on >> text=be reached")
    assert not heat.is_checked()
    assert visitor.page.locator(".state").count() == 0, "the search hasn't failed"


def test_an_export_that_breaks_off_says_what_is_saved(archive: Archive, visit) -> None:
    visitor = with_export_open(archive, visit)
    held = hold(visitor, "/v1/search", first=1)
    visitor.page.click("dialog[open] >> button:has-text('GeoParquet')")
    visitor.page.wait_for_selector(f"dialog[open] >> text=/^{CHIPS_A_PAGE} of /")
    wait_until_asked(visitor, held)
    held[0].abort()
    visitor.page.wait_for_selector("dialog[open] .notice.on")
    said = visitor.page.inner_text("dialog[open] .notice")
    assert "be reached" in said
    assert f"The first {CHIPS_A_PAGE} chips are saved in 1 file." in said
    visitor.page.wait_for_function("() => document.activeElement.textContent === 'GeoJSON'")


@needs_axe
@pytest.mark.parametrize("kind", ["GeoJSON", "GeoParquet"])
def test_an_export(archive: Archive, visit, kind: str) -> None:
    pages = 2
    visitor = with_export_open(archive, visit)
    hold(visitor, "/v1/search", first=pages)
    visitor.page.click(f"dialog[open] >> button:has-text('{kind}')")
    visitor.page.wait_for_selector(f"dialog[open] >> text=/^{pages * CHIPS_A_PAGE} of /")
    assert visitor.violations() == [], "on its way"
    visitor.page.click("dialog[open] >> text=Stop")
    visitor.page.wait_for_selector("dialog[open] .notice.on")
    kept = {
        "GeoJSON": "Nothing is saved.",
        "GeoParquet": f"The first {pages * CHIPS_A_PAGE} chips are saved in {pages} files.",
    }
    assert visitor.page.inner_text("dialog[open] .notice") == f"Stopped. {kept[kind]}"
    assert text_of_focus(visitor) == "GeoJSON"
