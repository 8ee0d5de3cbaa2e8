"""What the page says of an answer and of its lack: ties, what is new, counts, and states without results."""

import math
from collections import Counter

import httpx
import pytest

from tests.page.test_visiting import needs_axe
from tests.pipelines.serve.conftest import Archive

_NO_CHIP = "f" * 24


def nearest(archive: Archive, row: int) -> list[tuple[int, str]]:
    """All chips but one of the archive, nearest to it first, by brute force."""
    return archive.nearest(archive.code(row), leave_out=archive.ids()[row])


def test_ties_at_the_cut_are_said(archive: Archive, visit) -> None:
    row = 5
    distances = [distance for distance, _ in nearest(archive, row)]
    most = next(place for place in range(5, 40) if distances[place - 1] == distances[place])
    ties = distances[most:].count(distances[most - 1])
    assert ties > 0
    visitor = visit()
    visitor.open(f"#for={archive.ids()[row]}&most={most}")
    visitor.page.wait_for_selector(".card")
    said = visitor.page.inner_text(".results .status")
    assert said == f"{most} nearest, up to {distances[most - 1]} bits; {ties} more as near as the last"
    assert len(visitor.cards()) == most
    visitor.open(f"#for={archive.ids()[row]}&most=1000")
    visitor.page.reload()
    visitor.page.wait_for_selector(".card")
    assert "more as near" not in visitor.page.inner_text(".results .status")


def test_the_histogram_is_of_the_whole_archive(archive: Archive, visit) -> None:
    row = 5
    counts = Counter(distance for distance, _ in nearest(archive, row))
    first, farthest = min(counts), nearest(archive, row)[9][0]
    within = sum(count for distance, count in counts.items() if distance <= farthest)
    visitor = visit()
    visitor.open(f"#for={archive.ids()[row]}&most=10")
    visitor.page.wait_for_selector(f".histogram .status:has-text('{within} chips within')")
    heights = visitor.page.eval_on_selector_all(
        ".plot rect", "bars => bars.map(bar => Number(bar.getAttribute('height')))"
    )
    shown = [counts[first + place] for place in range(len(heights))]
    assert len(visitor.cards()) == 10 < sum(shown)
    tallest = math.log1p(max(shown))
    expected = [max(2, math.log1p(count) / tallest * 52) if count else 0 for count in shown]
    assert heights == pytest.approx(expected)


def test_what_a_label_brings_is_marked_as_new(archive: Archive, http: httpx.Client, visit) -> None:
    start = archive.ids()[5]
    visitor = visit()
    visitor.open(f"#for={start}&most=10")
    visitor.page.wait_for_selector(".card")
    before = set(visitor.ids())
    assert visitor.page.locator(".fresh").count() == 0, "nothing is new at first"
    chosen = visitor.ids()[4]
    visitor.page.focus(f"[data-id='{chosen}']")
    visitor.page.keyboard.press("p")
    visitor.page.wait_for_selector(".fresh")
    body = {"chip_ids": [start, chosen], "k": 10}
    found = {each["id"] for each in http.post("/v1/search", json=body).json()["features"]}
    marked = visitor.page.eval_on_selector_all(
        ".card:has(.fresh) .open", "cards => cards.map(card => card.dataset.id)"
    )
    assert len(visitor.page.query_selector_all(".card")) == 10, "all cards are in sight"
    assert set(marked) == found - before != set()


def test_nothing_within_a_cutoff(archive: Archive, visit) -> None:
    row = next(row for row in range(40) if nearest(archive, row)[0][0] > 1)
    least = nearest(archive, row)[0][0]
    visitor = visit()
    visitor.open(f"#for={archive.ids()[row]}&cutoff={least - 1}")
    visitor.page.wait_for_selector(".state")
    bits = "1 bit" if least == 2 else f"{least - 1} bits"
    assert visitor.page.inner_text(".state h3") == f"Nothing within {bits}"
    visitor.page.click("text=Show the nearest")
    visitor.page.wait_for_selector(".card")
    assert len(visitor.ids()) == len(nearest(archive, row))


def test_nothing_passes_the_filters(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}&from=2030-01-01")
    visitor.page.wait_for_selector(".state")
    assert visitor.page.inner_text(".state h3") == "Nothing passes the filters"
    visitor.page.click("text=Remove all filters")
    visitor.page.wait_for_selector(".card")
    assert len(visitor.ids()) == len(nearest(archive, 5))


def test_a_search_that_fails_beside_an_older_answer(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    visitor.page.context.set_offline(True)
    visitor.page.focus(".card .open")
    visitor.page.keyboard.press("p")
    visitor.page.wait_for_selector(".state button")
    panel, state, scroller = (
        visitor.page.locator(selector).bounding_box() for selector in (".results", ".state", ".scroller")
    )
    assert state["y"] + state["height"] <= scroller["y"], "the state has a row of its own"
    assert scroller["width"] > panel["width"] - 2, "the answer keeps the width of the panel"
    assert scroller["height"] > panel["height"] / 3
    assert visitor.page.is_visible(".card")
    visitor.page.context.set_offline(False)
    visitor.page.click("text=Try again")
    visitor.page.wait_for_selector(".state", state="detached")
    assert len(visitor.searches()[-1]["chip_ids"]) == 2


@needs_axe
@pytest.mark.parametrize("state", ["refused", "unreachable", "gone", "nothing"])
def test_no_violation_in_a_state(archive: Archive, visit, state: str) -> None:
    visitor = visit()
    example = _NO_CHIP if state == "refused" else archive.ids()[5]
    more = {"gone": "&snapshot=999", "nothing": "&from=2030-01-01"}.get(state, "")
    if state == "unreachable":
        visitor.open(f"#for={example}")
        visitor.page.wait_for_selector(".card")
        visitor.page.context.set_offline(True)
        visitor.page.get_by_role("radio", name="Kind").check()
    else:
        visitor.open(f"#for={example}{more}")
    visitor.page.wait_for_selector(".state h3")
    titles = {"refused": "refused", "unreachable": "reached", "gone": "gone", "nothing": "passes"}
    assert titles[state] in visitor.page.inner_text(".state h3")
    assert visitor.violations() == []


def test_colours_follow_the_system_until_they_are_chosen(visit) -> None:
    visitor = visit(color_scheme="dark")
    visitor.open()

    def theme() -> str:
        found: str = visitor.page.get_attribute("html", "data-theme")
        return found

    assert theme() == "dark"
    visitor.page.emulate_media(color_scheme="light")
    visitor.page.wait_for_selector("html[data-theme=light]")
    visitor.page.click("[aria-label='Dark colours']")
    assert theme() == "dark"
    visitor.page.reload()
    visitor.page.wait_for_selector("[aria-label='Light colours']")
    assert theme() == "dark", "what was chosen stays"
