"""Searching by eye: a click, labels, a cutoff, a region, a picture; each answer is the API's own."""

import contextlib
import io
from collections import Counter
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Error

from tests.pipelines.serve.conftest import Archive


def api(http: httpx.Client, **body: object) -> list[tuple[str, float]]:
    features = http.post("/v1/search", json={"k": 1000} | body).json()["features"]
    return [(each["id"], each["properties"]["distance"]) for each in features]


def chips_of(archive: Archive, scene: int) -> list[str]:
    rows = archive.rows[archive.versions[0]].to_pylist()
    return [row["chip_id"] for row in rows if row["uri"].endswith(f"/{scene}.tif")]


def test_a_click_on_the_map(archive: Archive, http, visit) -> None:
    visitor = visit()
    visitor.open()
    canvas = visitor.page.locator(".map .canvas").screenshot()
    assert len(Counter(Image.open(io.BytesIO(canvas)).convert("RGB").get_flattened_data())) > 3, (
        "the map is drawn"
    )
    visitor.click_map(2.4, 7.6)
    visitor.page.wait_for_selector(".card")
    [example] = visitor.searches()[-1]["chip_ids"]
    at_point = http.post("/v1/search", json={"point": [2.4, 7.6], "exclude_self": True, "k": 1000}).json()
    expected = [(each["id"], each["properties"]["distance"]) for each in at_point["features"]]
    assert visitor.cards() == expected
    assert example not in dict(expected)
    assert visitor.cards() == api(http, chip_ids=[example])


def test_a_click_where_nothing_is(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open()
    visitor.click_map(-60, -10)
    visitor.page.wait_for_selector(".notice.on")
    assert "no chip" in visitor.page.inner_text(".notice").lower()
    assert not visitor.cards()


def test_labels_by_key_and_undo(archive: Archive, http, visit) -> None:
    visitor = visit()
    start = archive.ids()[5]
    visitor.open(f"#for={start}")
    visitor.page.wait_for_selector(".card")
    first = visitor.cards()
    chosen = []
    for key, position in (("p", 1), ("p", 2), ("n", 3)):
        target = visitor.ids()[position]
        visitor.page.focus(f"[data-id='{target}']")
        visitor.page.keyboard.press(key)
        chosen.append(target)
        visitor.settle()
    positive, negative = [start, *chosen[:2]], chosen[2:]
    asked = visitor.searches()[-1]
    assert (asked["chip_ids"], asked["negative_ids"]) == (positive, negative)
    assert [chip_id for chip_id, _ in visitor.cards()] == [
        chip_id for chip_id, _ in api(http, chip_ids=positive, negative_ids=negative)
    ]
    for _ in range(3):
        visitor.page.keyboard.press("z")
        visitor.settle()
    assert visitor.cards() == first


def test_a_cutoff_shows_exactly_what_is_within_it(archive: Archive, visit) -> None:
    visitor = visit()
    row = 5
    visitor.open(f"#for={archive.ids()[row]}")
    visitor.page.wait_for_selector(".card")
    nearest = archive.nearest(archive.code(row), leave_out=archive.ids()[row])
    slider = visitor.page.locator(".cutoff-slider")
    slider.focus()
    least = nearest[0][0]
    for cutoff in (nearest[10][0], nearest[30][0], least):
        slider.fill(str(cutoff))
        visitor.settle()
        within = [(chip_id, distance) for distance, chip_id in nearest if distance <= cutoff]
        assert visitor.cards() == within
        assert f"{len(within)} chip" in visitor.page.inner_text(".histogram .status")


def test_a_region_over_the_antimeridian_drawn_and_typed(archive: Archive, http, visit) -> None:
    ring = [(178, 12), (187, 12), (187, 2), (178, 2)]
    start = chips_of(archive, 0)[5]
    visitor = visit()
    visitor.open(f"#for={start}")
    visitor.page.wait_for_selector(".card")
    visitor.go(182, 7, {"ArrowRight": 4})
    visitor.page.keyboard.press("r")
    for corner in ring:
        visitor.click_map(*corner)
        visitor.page.wait_for_timeout(350)  # two clicks at once would be a double click
    visitor.page.focus("body")
    visitor.page.keyboard.press(" ")
    visitor.settle()
    drawn = visitor.cards()
    asked = visitor.searches()[-1]["intersects"]
    assert asked["type"] == "MultiPolygon"
    assert {chip_id for chip_id, _ in drawn} == set(chips_of(archive, 2))
    visitor.page.click("[aria-label='Remove the region']")
    visitor.settle()
    visitor.page.fill("#region", "178, 2, -173, 12")
    visitor.page.press("#region", "Enter")
    visitor.settle()
    assert visitor.cards() == drawn == api(http, chip_ids=[start], bbox=[178, 2, -173, 12])


def test_a_picture_that_is_dropped_and_a_bomb(archive: Archive, geotiff, http, visit) -> None:
    visitor = visit()
    visitor.open()
    picture = geotiff(archive.pixels(5))
    drop(visitor, "chip.tif", picture)
    visitor.page.wait_for_selector(".card")
    answer = http.post("/v1/search/image", content=picture, params={"k": 1000}).json()
    expected = [(each["id"], each["properties"]["distance"]) for each in answer["features"]]
    assert [chip_id for chip_id, _ in visitor.cards()] == [chip_id for chip_id, _ in expected]
    bomb = io.BytesIO()
    Image.fromarray(np.zeros((1000, 1000), np.uint8)).save(bomb, "PNG")
    drop(visitor, "bomb.png", bomb.getvalue())
    visitor.page.wait_for_selector(".notice.on")
    said = visitor.page.inner_text(".notice")
    refused = http.post("/v1/encode", content=bomb.getvalue()).json()
    assert refused["message"][1:] in said
    assert refused["hint"][1:] in said
    assert visitor.page.inner_text(".notice code") == refused["code"]
    visitor.page.keyboard.press("z")
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")


def test_a_picture_is_shown_beside_its_own_code_only(archive: Archive, geotiff, visit) -> None:
    visitor = visit()
    visitor.open()
    drop(visitor, "chip.tif", geotiff(archive.pixels(5)))
    visitor.page.wait_for_selector(".card")
    address = visitor.page.get_attribute("[alt='Your picture']", "src")
    visitor.page.fill("#find", archive.code(7).tobytes().hex())
    visitor.page.press("#find", "Enter")
    visitor.page.wait_for_selector("text=Like this code")
    assert visitor.page.locator("[alt='Your picture']").count() == 0
    visitor.page.click("text=Undo")
    visitor.page.wait_for_selector("text=Like this picture")
    assert visitor.page.get_attribute("[alt='Your picture']", "src") == address


def test_reading_an_example_can_be_stopped(archive: Archive, geotiff, visit) -> None:
    visitor = visit()
    held: list[Any] = []
    # no service can be told to take its time
    visitor.page.route("**/v1/encode", lambda route: held.append(route))
    visitor.open()
    drop(visitor, "chip.tif", geotiff(archive.pixels(5)))
    visitor.page.click(".query >> text=Stop")
    visitor.page.wait_for_selector("text=Reading the example", state="detached")
    release(visitor, held)
    assert visitor.page.is_visible("text=What are you looking for?")
    assert not visitor.page.is_visible(".notice.on")


def test_of_two_clicks_the_last_one_counts(archive: Archive, http, visit) -> None:
    visitor = visit()
    held: list[Any] = []

    def hold_first(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    visitor.open()
    visitor.page.route("**/v1/search", hold_first)
    visitor.click_map(2.4, 7.6)
    visitor.page.wait_for_selector("text=Reading the example")
    visitor.page.wait_for_timeout(350)  # two clicks at once would be a double click
    visitor.click_map(4.8, 6.0)
    visitor.page.wait_for_selector(".card")
    release(visitor, held)
    visitor.settle()
    last = http.post("/v1/search", json={"point": [4.8, 6.0], "k": 1, "exclude_self": False}).json()
    asked = [body["chip_ids"] for body in visitor.searches()]
    assert asked == [[last["features"][0]["id"]]]


def release(visitor, held: list[Any]) -> None:
    """Let a request that was held go on, if the page still waits for it, and wait for what follows."""
    [route] = held
    with contextlib.suppress(Error):
        route.continue_()
    visitor.page.wait_for_timeout(500)


def test_a_chip_without_a_label_loses_none(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    before = len(visitor.searches())
    visitor.page.focus(".card .open")
    visitor.page.keyboard.press("u")
    visitor.settle()
    assert len(visitor.searches()) == before
    assert visitor.page.is_disabled(".tools >> text=Undo")


def drop(visitor, name: str, content: bytes) -> None:
    transfer = visitor.page.evaluate_handle(
        "([name, bytes]) => { const transfer = new DataTransfer();"
        " transfer.items.add(new File([new Uint8Array(bytes)], name)); return transfer; }",
        [name, list(content)],
    )
    visitor.page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def test_one_a_place(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={chips_of(archive, 3)[5]}")
    visitor.page.wait_for_selector(".card")
    every = len(visitor.cards())
    visitor.page.check(".toggle input")
    visitor.page.wait_for_timeout(100)
    kept = visitor.ids()
    boxes = {
        row["chip_id"]: row["bbox"] and tuple(row["bbox"].values())
        for row in archive.rows[archive.versions[0]].to_pylist()
    }
    assert len({boxes[chip_id] for chip_id in kept if boxes[chip_id]}) == sum(
        boxes[chip_id] is not None for chip_id in kept
    )
    assert len(kept) == every - 16, "of two scenes at one place"


@pytest.mark.parametrize("typed", ["7.6, 2.4", "7.6 N, 2.4 E"])
def test_coordinates_are_typed(archive: Archive, http, visit, typed: str) -> None:
    visitor = visit()
    visitor.open()
    visitor.page.keyboard.press("/")
    visitor.page.keyboard.type(typed)
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector(".card")
    answer = http.post("/v1/search", json={"point": [2.4, 7.6], "exclude_self": True, "k": 1000}).json()
    assert visitor.ids() == [each["id"] for each in answer["features"]]


def test_dates_are_chosen_on_the_time_line(archive: Archive, http, visit) -> None:
    visitor = visit()
    start = archive.ids()[5]
    visitor.open(f"#for={start}")
    visitor.page.wait_for_selector(".timeline")
    everything = visitor.cards()

    def choose(first: int, last: int) -> None:
        bars = visitor.page.locator(".periods").bounding_box()
        for bar, press in ((first, visitor.page.mouse.down), (last, visitor.page.mouse.up)):
            visitor.page.mouse.move(bars["x"] + (bar + 0.5) / 3 * bars["width"], bars["y"] + 10)
            press()
        visitor.settle()

    assert visitor.page.locator(".periods > span").count() == 3  # February has a bar too
    choose(2, 2)
    assert visitor.searches()[-1]["datetime"] == "2025-03-01/2025-03-31"
    march = api(http, chip_ids=[start], datetime="2025-03-01/2025-03-31")
    assert visitor.cards() == march
    assert 0 < len(march) < len(everything)
    visitor.page.click(".timeline >> text=All dates")
    visitor.settle()
    assert visitor.cards() == everything
    choose(1, 0)  # a drag to the left
    assert visitor.searches()[-1]["datetime"] == "2025-01-01/2025-02-28"
    assert visitor.cards() == api(http, chip_ids=[start], datetime="2025-01-01/2025-02-28")
    assert not visitor.complaints
