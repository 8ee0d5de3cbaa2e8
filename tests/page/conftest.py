"""The page in a real browser: Debian's Chromium, driven by Playwright, over the real service."""

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from pipelines.demo.objectstore import free_port
from pipelines.serve.config import ServeConfig
from pipelines.serve.web_page import BUILT
from pipelines.storage.store import Store
from tests.page.base_maps import put_pictures
from tests.pipelines.serve.conftest import KEY, Archive, make_archive

playwright = pytest.importorskip(
    "playwright.sync_api", reason="SKIPPED: no playwright; `make setup` installs it"
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
# WebGL in software needs the second one; --disable-gpu would switch WebGL off
FLAGS = ["--no-sandbox", "--enable-unsafe-swiftshader"]
_READ_CARDS = """cards => cards.map(card => [
  Number(card.getAttribute('aria-posinset')),
  card.querySelector('.open').dataset.id,
  card.querySelector('.distance').textContent,
])"""
# Playwright doesn't see the bodies of requests that the page has made before it sends them
_NOTE_BODIES = """
window.sent = [];
const send = window.fetch;
window.fetch = async (request, options) => {
  if (request.method === 'POST') window.sent.push([request.url, await request.clone().text()]);
  return send(request, options);
};
"""
_WITH_KEY = (
    f"sessionStorage.getItem('scenehash-key') ?? sessionStorage.setItem('scenehash-key', {json.dumps(KEY)})"
)


@pytest.fixture(scope="session", name="archive")
def archive_fixture(store: Store) -> Archive:
    """An archive of the page's own; once a process, as its name and so its commits are always the same."""
    return make_archive(store, "for-the-page")


@pytest.fixture(scope="package", name="url")
def url_fixture(archive: Archive, ray_local: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with keys over the archive, in one process: what the page needs, no more."""
    if CHROMIUM is None:
        pytest.skip("SKIPPED: no Chromium; `apt-get install chromium`")
    if not (BUILT / "index.html").is_file():
        pytest.skip("SKIPPED: the page isn't built; `make page`")
    from pipelines.serve.run import serving

    config = ServeConfig(
        table=archive.table,
        store=archive.store.config,
        port=free_port(),
        index_folder=tmp_path_factory.mktemp("indices"),
        key_hashes=(hashlib.sha256(KEY.encode()).hexdigest(),),
        watches=f"{archive.root}/watches",
        watch_hits=f"{archive.root}/hits",
        base_map=put_pictures(archive),
        poll_seconds=0.2,
        shard_cpus=0.1,
        max_upload_mb=0.2,
        max_image_pixels=40_000,
    )
    with serving(config) as url:
        yield url


@pytest.fixture(scope="package", name="http")
def http_fixture(url: str) -> Iterator[httpx.Client]:
    """A connection to the service, with its key."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as client:
        yield client


@pytest.fixture(scope="module", name="browser")
def browser_fixture() -> Iterator[Any]:
    """A Chromium."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Somebody with the page open, and all that their browser has asked and said."""

    page: Any
    url: str
    requests: list[Any] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str = "") -> None:
        """Load the page, and wait until the map is there."""
        self.page.goto(f"{self.url}/{address}")
        self.page.wait_for_selector(".map .canvas[data-ready]", state="attached", timeout=60_000)

    def settle(self) -> None:
        """Wait until the search that was begun is answered."""
        self.page.wait_for_timeout(250)  # a label waits 150 ms for others
        self.page.wait_for_selector(".progress:not(.on)", state="attached")

    def cards(self) -> list[tuple[str, float]]:
        """Id and distance of each card, in order: scrolled through, as only those in sight exist."""
        found: dict[int, tuple[str, float]] = {}
        bottom = self.page.evaluate("() => document.querySelector('.scroller').scrollHeight")
        for top in range(0, bottom, 400):
            self.page.evaluate("top => document.querySelector('.scroller').scrollTo(0, top)", top)
            self.page.wait_for_timeout(50)
            for place, chip_id, text in self.page.eval_on_selector_all(".card", _READ_CARDS):
                found[place] = chip_id, float(text.replace("\N{MINUS SIGN}", "-"))
        self.page.evaluate("() => document.querySelector('.scroller').scrollTo(0, 0)")
        self.page.wait_for_timeout(50)
        assert list(found) == list(range(1, len(found) + 1))
        return list(found.values())

    def ids(self) -> list[str]:
        return [chip_id for chip_id, _ in self.cards()]

    def at(self, longitude: float, latitude: float) -> tuple[float, float]:
        """Where a place is on the screen: Web Mercator, 512 pixels at zoom 0."""
        box = self.page.locator(".map .canvas").bounding_box()
        east, north, zoom = map(float, self.page.get_attribute(".map .canvas", "data-view").split(","))
        world = 512 * 2**zoom

        def down(degrees: float) -> float:
            return -math.log(math.tan(math.pi / 4 + math.radians(degrees) / 2)) / (2 * math.pi) * world

        x = box["x"] + box["width"] / 2 + ((longitude - east + 540) % 360 - 180) / 360 * world
        return x, box["y"] + box["height"] / 2 + down(latitude) - down(north)

    def click_map(self, longitude: float, latitude: float) -> None:
        self.page.mouse.click(*self.at(longitude, latitude))

    def go(self, longitude: float, latitude: float, presses: dict[str, int]) -> None:
        """Move the map by keys until a place is in sight."""
        self.page.focus(".maplibregl-canvas")
        for key, times in presses.items():
            for _ in range(times):
                before = self.page.get_attribute(".map .canvas", "data-view")
                self.page.keyboard.press(key)
                self.page.wait_for_function(
                    "before => document.querySelector('.map .canvas').dataset.view !== before", arg=before
                )
        x, y = self.at(longitude, latitude)
        box = self.page.locator(".map .canvas").bounding_box()
        assert box["x"] < x < box["x"] + box["width"]
        assert box["y"] < y < box["y"] + box["height"]

    def searches(self) -> list[dict[str, Any]]:
        """The bodies of all searches so far, without those that only look up a place."""
        sent = self.page.evaluate("() => window.sent")
        bodies = [json.loads(body) for address, body in sent if address.endswith("/v1/search")]
        return [body for body in bodies if "point" not in body]

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA."""
        self.page.wait_for_timeout(100)
        # as text within the page's own policy: Playwright evaluates it in the page, no script is added to it
        self.page.evaluate(AXE.read_text() + "\n;window.axe = window.axe ?? axe; undefined")
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = self.page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", tags)
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]


@pytest.fixture(name="visit")
def visit_fixture(url: str, browser: Any) -> Iterator[Any]:
    """Return a function that gives a new visitor. At the end: no other host was asked."""
    visitors = []

    def visit(*, key: bool = True, **options: Any) -> Visitor:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}} | options)
        context.set_default_timeout(30_000)
        context.add_init_script(_NOTE_BODIES)
        if key:
            context.add_init_script(_WITH_KEY)
        visitor = Visitor(context.new_page(), url)
        visitor.page.on("request", lambda request: visitor.requests.append(request))
        visitor.page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        visitor.page.on(
            "console",
            lambda message: (
                visitor.complaints.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        visitors.append(visitor)
        return visitor

    yield visit
    for visitor in visitors:
        origins = {
            urlsplit(request.url)._replace(path="", query="", fragment="").geturl()
            for request in visitor.requests
        }
        blobs = {origin for origin in origins if origin.startswith(("blob:", "data:"))}
        assert origins - blobs <= {url}, "the page asks no other host"
        assert not visitor.complaints
        visitor.page.context.close()
