"""Links, keys, keyboard, what is said where something fails, and what all of it costs."""

import json
import math
import re
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from pipelines.serve.web_page import built_files
from tests.page.conftest import AXE
from tests.pipelines.serve.conftest import KEY, Archive, wait_for

needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="SKIPPED: no axe-core; `make page` installs it")

_HELD = "document.activeElement.closest('.card')?.getAttribute('aria-posinset')"


def test_a_link_gives_the_same_answer_later(archive: Archive, http, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    before = visitor.cards()
    link = visitor.page.evaluate("location.hash")
    first = archive.versions[0]
    assert f"snapshot={first}" in link
    archive.publish(archive.versions[1])
    try:
        wait_for(http, archive.versions[1])
        other = visit()
        other.open(link)
        other.page.wait_for_selector(".card")
        assert other.cards() == before
        other.page.wait_for_selector(".newer")
        other.page.click(".newer button")
        other.settle()
        answer = http.post("/v1/search", json={"chip_ids": [archive.ids()[5]], "k": 1000}).json()
        assert len(answer["features"]) > len(before)
        assert f"{len(answer['features'])} nearest" in other.page.inner_text(".results .status")
    finally:
        archive.publish(first)
        wait_for(http, first)


def test_a_snapshot_that_is_gone(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}&snapshot=999")
    visitor.page.wait_for_selector(".state")
    assert "snapshot is gone" in visitor.page.inner_text(".state")
    visitor.page.click("text=Search the newest version")
    visitor.page.wait_for_selector(".card")


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_whole_flow_by_keyboard_and_without_a_violation(archive: Archive, visit, scheme: str) -> None:
    visitor = visit(color_scheme=scheme)
    visitor.open()
    press = visitor.page.keyboard.press
    assert visitor.violations() == [], "before a search"
    press("/")
    visitor.page.keyboard.type("7.6, 2.4")
    press("Enter")
    visitor.page.wait_for_selector(".card img")
    assert visitor.violations() == [], "with an answer"
    press("Escape")
    reach(visitor, ".card .open")
    start = focused_id(visitor)
    press("ArrowRight")
    visitor.page.wait_for_function("start => document.activeElement.dataset.id !== start", arg=start)
    assert visitor.page.evaluate("document.activeElement.matches(':focus-visible')")
    outline = visitor.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    chosen = focused_id(visitor)
    press("p")
    visitor.settle()
    assert visitor.searches()[-1]["chip_ids"][1] == chosen
    reach(visitor, ".card .open")
    for key, title in (("Enter", "One chip"), ("e", "Export"), ("?", "Keys"), ("c", "What changed most")):
        press(key)
        visitor.page.wait_for_selector(f"dialog[open][aria-label='{title}'] .inside")
        assert visitor.violations() == [], title
        press("Escape")
        visitor.page.wait_for_selector("dialog[open]", state="detached")
    press("z")
    visitor.settle()
    assert len(visitor.searches()[-1]["chip_ids"]) == 1


def reach(visitor, selector: str) -> None:
    """Press Tab until the focus is there, as somebody without a mouse does."""
    for _ in range(60):
        if visitor.page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        visitor.page.keyboard.press("Tab")
    raise AssertionError(f"{selector} can't be reached by Tab")


def focused_id(visitor) -> str:
    found: str = visitor.page.evaluate("document.activeElement.dataset.id")
    return found


@needs_axe
def test_signing_in(archive: Archive, visit) -> None:
    visitor = visit(key=False)
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector("dialog[open][aria-label='Sign in']")
    assert visitor.violations() == []
    visitor.page.keyboard.type("a wrong key")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector("dialog[open] .problem:not(:empty)")
    visitor.page.fill("input[name=key]", KEY)
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector(".card img")
    for request in visitor.requests:
        assert KEY not in request.url
        assert "wrong" not in request.url
    assert KEY not in visitor.page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")


def test_a_busy_service_is_asked_again(archive: Archive, visit) -> None:
    """The first answers are replaced by refusals: no service can be told to be busy twice."""
    visitor = visit()
    refusals = [429, 503]

    def answer(route) -> None:
        if not refusals:
            route.continue_()
            return
        status = refusals.pop()
        body = {"code": "queue_full", "message": "busy", "hint": "try again"}
        route.fulfill(status=status, headers={"Retry-After": "1"}, json=body)

    visitor.page.route("**/v1/search", answer)
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    assert not refusals
    assert len(visitor.searches()) == 3


def test_a_service_that_can_t_be_reached(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open()
    visitor.page.context.set_offline(True)
    visitor.page.fill("#find", archive.ids()[5])
    visitor.page.press("#find", "Enter")
    visitor.page.wait_for_selector(".state button")
    assert "be reached" in visitor.page.inner_text(".state")
    visitor.page.context.set_offline(False)
    visitor.page.click("text=Try again")
    visitor.page.wait_for_selector(".card")


def test_the_description_of_the_api(visit) -> None:
    visitor = visit()
    visitor.page.goto(f"{visitor.url}/docs")
    visitor.page.wait_for_selector(".opblock", timeout=60_000)
    assert visitor.page.locator(".opblock").count() >= 10


def test_a_phone_shows_query_and_results(archive: Archive, visit) -> None:
    visitor = visit(viewport={"width": 390, "height": 844})
    visitor.page.goto(visitor.url)
    visitor.page.wait_for_selector("text=What are you looking for?")
    said = visitor.page.inner_text("main")
    assert "More like this" in said
    assert not re.search(r"\bmap\b|\bpress\b", said), "there is no map, and no keyboard"
    visitor.page.goto(f"{visitor.url}/#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card img")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not visitor.page.is_visible(".map")
    visitor.page.click(".card .open")
    visitor.page.wait_for_selector("dialog[open] >> text=Search from here")
    assert not visitor.page.is_visible("text=Show on the map")


def test_what_the_first_load_weighs() -> None:
    files = built_files()
    if not files:
        pytest.skip("SKIPPED: the page isn't built; `make page`")
    names = [name for name in files if re.match(r"assets/(index|rolldown|maplibre|land_coarse)", name)]
    packed = sum(len(files[name].packed or files[name].content) for name in ["index.html", *names])
    assert packed <= 560_000


def test_two_dates_of_a_place_side_by_side(archive: Archive, http, visit) -> None:
    rows = archive.rows[archive.versions[0]].to_pylist()
    place = next(row for row in rows if row["uri"].endswith("/1.tif"))
    box = place["bbox"]
    middle = [(box["xmin"] + box["xmax"]) / 2, (box["ymin"] + box["ymax"]) / 2]
    example = next(row["chip_id"] for row in rows if row["uri"].endswith("/2.tif"))
    visitor = visit()
    visitor.open(f"#for={example}&bbox={','.join(map(str, middle + middle))}")
    visitor.page.wait_for_selector(".card")
    assert len(visitor.ids()) == 2, "one of each of the two scenes that lie here"
    opened = visitor.ids()[0]
    visitor.page.focus(f"[data-id='{opened}']")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector(".date")
    dates = http.get(f"/v1/chips/{opened}/dates").json()["features"]
    [changed] = [each["properties"]["distance"] for each in dates if each["id"] != opened]
    assert f"{changed} bit" in visitor.page.inner_text(".date")
    visitor.page.click(".date")
    visitor.page.wait_for_function("() => document.querySelectorAll('.swipe img').length === 2")
    assert visitor.violations() == []


@pytest.mark.parametrize("kind", ["GeoJSON", "GeoParquet", "CSV"])
def test_an_export_of_a_cutoff_below_zero(archive: Archive, http, visit, tmp_path: Path, kind: str) -> None:
    """With an example against, the nearest chips have distances below 0."""
    ids = archive.ids()
    body = {"chip_ids": [ids[5]], "negative_ids": [ids[40]], "k": 1000}
    found = [
        (each["id"], each["properties"]["distance"])
        for each in http.post("/v1/search", json=body).json()["features"]
    ]
    cutoff = math.floor(found[0][1]) + 2
    wanted = [chip_id for chip_id, distance in found if distance <= cutoff]
    assert cutoff < 0
    assert 0 < len(wanted) < len(found)
    visitor = visit(accept_downloads=True)
    visitor.open(f"#for={ids[5]}&against={ids[40]}&cutoff={cutoff}")
    visitor.page.wait_for_selector(".card")
    visitor.page.keyboard.press("e")
    visitor.page.wait_for_selector(f"dialog[open] >> text=All {len(wanted)} chip")
    assert f'"max_distance":{cutoff}' in visitor.page.inner_text("dialog[open] pre")
    with visitor.page.expect_download() as started:
        visitor.page.click(f"dialog[open] >> text={kind}")
    started.value.save_as(tmp_path / "answer")
    if kind == "GeoJSON":
        exported = [each["id"] for each in json.loads((tmp_path / "answer").read_text())["features"]]
    elif kind == "GeoParquet":
        exported = pq.read_table(tmp_path / "answer")["id"].to_pylist()
    else:
        exported = [line.split(",")[1] for line in (tmp_path / "answer").read_text().splitlines()[1:]]
    assert exported == wanted


def test_the_focus_stays_among_the_results(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    visitor.page.keyboard.press("g")
    visitor.page.keyboard.press("ArrowRight")
    visitor.page.wait_for_function(f"() => {_HELD} === '2'")
    for key in "pn":
        before = visitor.page.evaluate("() => document.activeElement.dataset.id")
        visitor.page.keyboard.press(key)
        visitor.page.wait_for_function(
            f"id => {_HELD} === '2' && document.activeElement.dataset.id !== id", arg=before
        )
    visitor.page.click(".row.against button")
    visitor.page.wait_for_function("() => document.activeElement.id === 'find'")
    visitor.page.fill("#region", "-20, -36, 52, 37")
    visitor.page.press("#region", "Enter")
    visitor.page.wait_for_function("() => document.activeElement.title === 'Remove'")
    visitor.page.fill("#find", "4.8, 6.0")
    visitor.page.press("#find", "Escape")
    visitor.page.keyboard.press("/")
    visitor.page.keyboard.type("11.9, -15.6")
    assert visitor.page.input_value("#find") == "11.9, -15.6"


def test_the_tools_stay_in_one_row_beside_their_hint(visit) -> None:
    visitor = visit()
    visitor.open()
    tools = visitor.page.locator(".map-tools fieldset")
    before = tools.bounding_box()
    visitor.page.keyboard.press("r")
    visitor.page.wait_for_selector(".map-hint")
    assert tools.bounding_box() == before
    hint = visitor.page.locator(".map-hint").bounding_box()
    zoom = visitor.page.locator(".maplibregl-ctrl-top-right .maplibregl-ctrl-group").bounding_box()
    assert hint["x"] + hint["width"] <= zoom["x"]


def test_an_export(archive: Archive, http: httpx.Client, visit, tmp_path: Path) -> None:
    visitor = visit(accept_downloads=True)
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    visitor.page.keyboard.press("e")
    with visitor.page.expect_download() as started:
        visitor.page.click("dialog[open] >> text=CSV")
    started.value.save_as(tmp_path / "answer.csv")
    lines = (tmp_path / "answer.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == visitor.ids()
