"""Dialogs: the chip that was opened, why it matched, notices within them, changes, and signing in."""

import re

import httpx

from tests.page.conftest import Visitor
from tests.pipelines.serve.conftest import Archive, wait_for


def open_card(visitor: Visitor, chip_id: str) -> None:
    visitor.page.focus(f"[data-id='{chip_id}']")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector("dialog[open] .facts")


def test_the_dialog_stays_on_its_chip(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    chosen = visitor.ids()[2]
    open_card(visitor, chosen)
    before = visitor.page.inner_text("dialog[open] .facts")
    assert chosen in before
    visitor.page.click("dialog[open] >> text=More like this")
    visitor.page.wait_for_function("id => !document.querySelector(`[data-id='${id}']`)", arg=chosen)
    visitor.settle()
    assert visitor.page.inner_text("dialog[open] .facts") == before, "the answer leaves its example out"
    assert visitor.page.get_attribute("dialog[open] button.for", "aria-pressed") == "true"
    visitor.page.click("dialog[open] >> text=More like this")
    visitor.page.wait_for_selector(f"[data-id='{chosen}']", state="attached")
    assert visitor.page.get_attribute("dialog[open] button.for", "aria-pressed") == "false"
    visitor.page.keyboard.press("Escape")
    visitor.page.wait_for_selector("dialog[open]", state="detached")


def test_why_a_chip_matched(archive: Archive, http: httpx.Client, visit) -> None:
    first, in_parts = archive.versions[0], archive.versions[3]
    archive.publish(in_parts)
    try:
        wait_for(http, in_parts)
        example = archive.rows[in_parts]["chip_id"][5].as_py()
        for compare in ("both", "kind"):
            body = {"chip_ids": [example], "compare": compare, "k": 1000}
            match = http.post("/v1/search", json=body).json()["features"][3]
            found = match["properties"]
            kind, look = found["kind_distance"], found["look_distance"]
            visitor = visit()
            visitor.open(f"#for={example}&compare={compare}")
            visitor.page.wait_for_selector(".card")
            open_card(visitor, match["id"])
            said = visitor.page.inner_text("dialog[open]")
            if compare == "both":
                assert found["distance"] == 3 * kind + look
                assert f"kind {kind} \N{MULTIPLICATION SIGN} 3 + look {look}\n" in said
            else:
                assert found["distance"] == kind
                assert f"kind {kind}; look {look} isn\N{RIGHT SINGLE QUOTATION MARK}t compared" in said
    finally:
        archive.publish(first)
        wait_for(http, first)


def test_a_dialog_that_is_opened_again_at_once_stays(visit) -> None:
    visitor = visit()
    visitor.open()
    visitor.page.keyboard.press("?")
    visitor.page.wait_for_selector("dialog[open] .keys")
    # browsers say that a dialog was closed a moment later; signing in with a wrong key opens it again by then
    visitor.page.evaluate("document.querySelector('dialog[open]').dispatchEvent(new Event('close'))")
    visitor.page.wait_for_timeout(200)
    assert visitor.page.is_visible("dialog[open] .keys")
    visitor.page.keyboard.press("Escape")
    visitor.page.wait_for_selector("dialog[open]", state="detached")


def test_a_notice_is_said_within_an_open_dialog(archive: Archive, visit) -> None:
    visitor = visit(permissions=["clipboard-write"])
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    visitor.page.keyboard.press("e")
    visitor.page.click("dialog[open] >> text=Copy")
    visitor.page.wait_for_selector("dialog[open] .notice.on")
    assert visitor.page.inner_text("dialog[open] .notice") == "Copied."
    assert visitor.page.locator(".notice.on").count() == 1
    box = visitor.page.locator(".notice.on").bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    on_top = "([x, y]) => document.elementFromPoint(x, y).matches('.notice')"
    assert visitor.page.evaluate(on_top, middle), "it is over the dialog and what is behind it"


def test_an_export_without_a_key_leads_to_signing_in(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    visitor.page.click("[aria-label='Sign out']")
    visitor.page.keyboard.press("Escape")
    visitor.page.wait_for_selector("dialog[open]", state="detached")
    visitor.page.keyboard.press("e")
    visitor.page.click("dialog[open] >> text=GeoJSON")
    visitor.page.wait_for_selector("dialog[open][aria-label='Sign in'] input")
    visitor.page.keyboard.press("Escape")
    visitor.page.wait_for_selector("dialog[open][aria-label='Sign in']", state="detached")
    visitor.page.keyboard.press("Escape")
    visitor.page.wait_for_selector("dialog[open]", state="detached")
    visitor.page.keyboard.press("c")
    visitor.page.wait_for_selector("dialog[open][aria-label='Sign in'] input")
    visitor.page.wait_for_selector("dialog[open][aria-label='What changed most']", state="detached")


def test_an_export_that_fails_says_what_to_do(archive: Archive, visit) -> None:
    visitor = visit()
    visitor.open(f"#for={archive.ids()[5]}")
    visitor.page.wait_for_selector(".card")
    visitor.page.keyboard.press("e")
    visitor.page.context.set_offline(True)
    visitor.page.click("dialog[open] >> text=CSV")
    visitor.page.wait_for_selector("dialog[open] .notice.on")
    said = visitor.page.inner_text("dialog[open] .notice")
    assert "be reached" in said
    assert "ask its operator" in said
    assert visitor.page.inner_text("dialog[open] .notice code") == "unreachable"


def test_changes_are_those_of_the_api(archive: Archive, http: httpx.Client, visit) -> None:
    visitor = visit()
    visitor.open()
    visitor.page.keyboard.press("c")
    visitor.page.wait_for_selector(".pairs")
    view = visitor.page.evaluate("window.sent.find(([to]) => to.endsWith('/v1/changes'))[1]")
    box = re.search(r'"bbox":(\[[^\]]+\])', view)
    assert box is not None
    bbox = [float(each) for each in box[1][1:-1].split(",")]
    answer = http.post("/v1/changes", json={"bbox": bbox, "k": 60}).json()
    pairs = [each["properties"] for each in answer["features"]]
    assert len(pairs) > 3
    assert f"{answer['numberMatched']} pairs" in visitor.page.inner_text("dialog[open] .status")
    shown = visitor.page.eval_on_selector_all(".pair strong", "all => all.map(each => each.textContent)")
    assert shown == [f"{pair['distance']} bit{'' if pair['distance'] == 1 else 's'}" for pair in pairs]
    visitor.page.click(".pair >> nth=1")
    visitor.page.wait_for_selector(".swipe")
    visitor.page.click("dialog[open] >> text=Search from here")
    visitor.page.wait_for_selector(".card")
    assert visitor.searches()[-1]["chip_ids"] == [pairs[1]["after"]]
