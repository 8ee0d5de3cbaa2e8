"""Examples: typed, chosen with the map's tools, and marked on the map."""

import httpx

from tests.page.conftest import Visitor
from tests.pipelines.serve.conftest import Archive


def marks(visitor: Visitor) -> list[tuple[str, float, float]]:
    """Kind of each mark, and where on the screen its point is: 8 pixels below its head."""
    found = []
    for mark in visitor.page.query_selector_all(".example-mark"):
        box = mark.bounding_box()
        kind = "for" if "for" in mark.get_attribute("class").split() else "against"
        found.append((kind, box["x"] + box["width"] / 2, box["y"] + box["height"] + 8))
    return found


def wait_for_marks(visitor: Visitor, count: int) -> None:
    visitor.page.wait_for_function(
        "count => document.querySelectorAll('.example-mark').length === count", arg=count
    )


def add_typed(visitor: Visitor, text: str, button: str) -> None:
    visitor.page.fill("#find", text)
    visitor.page.get_by_role("button", name=button).click()


def middle_of(http: httpx.Client, chip_id: str) -> tuple[float, float]:
    west, south, east, north = http.get(f"/v1/chips/{chip_id}").json()["bbox"]
    return west + (east - west) % 360 / 2, (south + north) / 2


def test_typed_for_and_against(archive: Archive, http: httpx.Client, visit) -> None:
    visitor = visit()
    visitor.open()
    assert not visitor.page.get_by_role("button", name="Add as an example").count()
    start, other = archive.ids()[5], archive.ids()[40]
    add_typed(visitor, start, "Search from here")
    visitor.page.wait_for_selector(".card")
    wait_for_marks(visitor, 1)
    add_typed(visitor, other, "Add as an example against")
    visitor.settle()
    asked = visitor.searches()[-1]
    assert (asked["chip_ids"], asked["negative_ids"]) == ([start], [other])
    wait_for_marks(visitor, 2)
    wanted = [
        (kind, *visitor.at(*middle_of(http, chip))) for kind, chip in (("for", start), ("against", other))
    ]
    for (kind, x, y), (wanted_kind, wanted_x, wanted_y) in zip(marks(visitor), wanted, strict=True):
        assert kind == wanted_kind
        assert abs(x - wanted_x) < 2
        assert abs(y - wanted_y) < 2
    add_typed(visitor, "7.6, 2.4", "Add as an example for")
    visitor.page.wait_for_function("() => document.querySelectorAll('.row.for li').length === 2")
    visitor.settle()
    at_point = http.post("/v1/search", json={"point": [2.4, 7.6], "k": 1, "exclude_self": False}).json()
    assert visitor.searches()[-1]["chip_ids"] == [start, at_point["features"][0]["id"]]
    add_typed(visitor, "00ff" * 4, "Add as an example for")
    assert "only begin a search" in visitor.page.inner_text("#find-problem")
    visitor.page.get_by_role("button", name="Clear").click()
    wait_for_marks(visitor, 0)


def test_the_tools_by_key(visit) -> None:
    visitor = visit()
    visitor.open()
    for key, name in (
        ("2", "More like this place"),
        ("3", "Less like this place"),
        ("1", "Search from here"),
    ):
        visitor.page.keyboard.press(key)
        assert visitor.page.get_by_role("radio", name=name).is_checked()


def drag_box(visitor: Visitor, start: tuple[float, float], end: tuple[float, float]) -> None:
    visitor.page.keyboard.down("Shift")
    visitor.page.mouse.move(*start)
    visitor.page.mouse.down()
    visitor.page.mouse.move(*end, steps=4)
    visitor.page.mouse.up()
    visitor.page.keyboard.up("Shift")


def test_all_results_in_a_box_become_examples(archive: Archive, http: httpx.Client, visit) -> None:
    start = archive.ids()[5]
    results = http.post("/v1/search", json={"chip_ids": [start], "k": 30}).json()["features"]
    middles = {each["id"]: middle_of(http, each["id"]) for each in results if each.get("bbox")}
    west, south, east, north = -20.0, -4.0, 8.0, 12.0
    inside = [chip for chip, (x, y) in middles.items() if west < x < east and south < y < north]
    assert 2 < len(inside) < len(middles), "some results lie in the box, some beside it"
    visitor = visit()
    visitor.open(f"#for={start}&most=30")
    visitor.page.wait_for_selector(".card")
    visitor.page.keyboard.press("3")
    visitor.page.wait_for_selector("text=Shift and a drag")
    drag_box(visitor, visitor.at(west, north), visitor.at(east, south))
    visitor.page.wait_for_selector(f".notice.on >> text={len(inside)} more examples against")
    visitor.settle()
    asked = visitor.searches()[-1]
    assert (asked["chip_ids"], asked["negative_ids"]) == ([start], inside), "the nearest first"
    wait_for_marks(visitor, 1 + len(inside))
    visitor.page.keyboard.press("z")
    visitor.settle()
    assert "negative_ids" not in visitor.searches()[-1], "taken back in one step"
    visitor.page.keyboard.press("2")
    before = len(visitor.searches())
    drag_box(visitor, visitor.at(-60, -30), visitor.at(-40, -50))
    visitor.page.wait_for_selector(".notice.on >> text=No result lies there")
    assert len(visitor.searches()) == before
    visitor.page.keyboard.press("1")
    visitor.page.focus(".maplibregl-canvas")
    visitor.page.keyboard.press("Shift+ArrowRight")  # a turned map would have other boxes
    zoom = visitor.page.get_attribute(".map .canvas", "data-view").split(",")[2]
    drag_box(visitor, visitor.at(west, north), visitor.at(east, south))
    visitor.page.wait_for_function(
        "zoom => Number(document.querySelector('.map .canvas').dataset.view.split(',')[2]) > zoom + 0.5",
        arg=float(zoom),
    )
    assert len(visitor.searches()) == before, "without such a tool the map zooms to the box"
