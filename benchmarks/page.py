"""What the page costs its users, in headless Chromium, over a table of 2 M chips or over a service that runs.

`python -m benchmarks.page [--chips N] [--service URL] [--check]` prints one line: `{"page": {"first_load_kb",
"own_kb", "usable_s", "pictures_s", "relabel_ms", "footprints_ms", "cutoff_ms", "drag_ms", "longest_task_ms",
"foreign_requests", "axe_violations"}}`. With `--check` it names each figure that is over its budget, and
exits with 1 if there is one. The made-up table has no images, so `pictures_s` is null there: give a service
that has some, such as the demo's (`make demo KEEP=1`), for that one. Each figure is the median of `ROUNDS`
visits, each by a profile of its own in a browser that has come to rest: its own windows cost more than the
page.
"""

import argparse
import json
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks import served
from pipelines.client import Client, SearchRequest
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import free_port
from pipelines.serve.config import ServeConfig
from pipelines.storage.store import Store

ROUNDS = 3
BUDGETS = {
    "first_load_kb": 560,
    "own_kb": 60,
    "usable_s": 1.5,
    "pictures_s": 2,
    "relabel_ms": 300,
    "footprints_ms": 800,
    "cutoff_ms": 50,
    "longest_task_ms": 100,
    "foreign_requests": 0,
    "axe_violations": 0,
}
"""The most that a figure may be, on two quiet cores."""
_FOOTPRINTS = 10_000
_PICTURES = 20
_STEPS = 5
_REST_MS = 100
_BROWSER_STARTS_MS = 4000
_AXE = Path(__file__).parents[1] / "web/node_modules/axe-core/axe.min.js"
_WATCH_TASKS = """
window.longest = 0;
new PerformanceObserver(list => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({type: 'longtask', buffered: true});
"""
_SEARCH_TIME = """() => {
  const all = performance.getEntriesByType('resource').filter(each => each.name.endsWith('/v1/search'));
  return [all.at(-1).duration, all.at(-1).responseEnd];
}"""
# the map says when it has come to rest
_IS_DRAWN = "answered => Number(document.querySelector('.map .canvas').dataset.drawn) > answered"
_PICTURES_THERE = "count => document.querySelectorAll('.card img').length >= count"

Figures = dict[str, float | None]


@contextmanager
def service(chips: int) -> Iterator[str]:
    """Serve a made-up table of as many chips, without keys; yield its address."""
    from pipelines.serve.run import serving

    with tempfile.TemporaryDirectory(prefix="page-") as name:
        folder, store = Path(name), Store(StoreConfig())
        (folder / "table").mkdir()
        served.build(folder, chips, store)
        config = ServeConfig(
            table=str(folder / "table"), open=True, port=free_port(), index_folder=folder / "index"
        )
        with serving(config) as url:
            yield url


def visit(browser: Browser, url: str, example: str) -> Figures:
    """Return the figures of one visit with a fresh profile."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.add_init_script(_WATCH_TASKS)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto("about:blank")
    page.wait_for_timeout(_BROWSER_STARTS_MS)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    figures = first_load(page, url, requests)
    figures |= first_answer(page, url, example)
    figures["relabel_ms"] = relabel(page)
    figures["footprints_ms"] = footprints(page, url, example)
    figures["cutoff_ms"] = cutoff(page, _REST_MS)
    figures["drag_ms"] = cutoff(page, 0)
    figures["longest_task_ms"] = page.evaluate("window.longest")
    figures["foreign_requests"] = sum(not request.startswith((url, "blob:", "data:")) for request in requests)
    figures["axe_violations"] = violations(page)
    context.close()
    return figures


def first_load(page: Page, url: str, requests: list[str]) -> Figures:
    """Load the page with an empty cache."""
    started = time.perf_counter()
    page.goto(url)
    page.wait_for_selector(".map .canvas[data-ready]", state="attached")
    usable = time.perf_counter() - started
    page.wait_for_timeout(1000)
    # with those of the map's worker, which the page's own counters don't have
    files = {request for request in requests if request.startswith(url) and "/v1/" not in request}
    sizes = {file: _packed(file) for file in files}
    own = sum(
        size
        for file, size in sizes.items()
        if urlsplit(file).path.startswith(("/assets/index", "/assets/world"))
    )
    return {"first_load_kb": sum(sizes.values()) / 1000, "own_kb": own / 1000, "usable_s": usable}


def _packed(address: str) -> int:
    """Return a file's size as it is sent to a browser [bytes]."""
    with httpx.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
        return sum(len(piece) for piece in answer.iter_raw())


def first_answer(page: Page, url: str, example: str) -> Figures:
    """Search; return how long the first pictures take from the answer on; null without images."""
    page.goto(f"{url}/#for={example}")
    page.wait_for_selector(".card")
    started = time.perf_counter()
    page.wait_for_function("() => document.querySelectorAll('.card .picture.missing, .card img').length >= 9")
    if page.locator(".card .picture.missing").count():
        return {"pictures_s": None}
    page.reload()  # the service has them by now
    page.wait_for_selector(".card")
    started = time.perf_counter()
    page.wait_for_function(_PICTURES_THERE, arg=_PICTURES)
    return {"pictures_s": time.perf_counter() - started}


def relabel(page: Page) -> float:
    """Return the time from a label to the new order, without the search's own [milliseconds]."""
    card = page.locator(".card .open").nth(3)
    label = page.evaluate(
        """card => new Promise(done => {
          const started = performance.now();
          const look = () => {
            const examples = document.querySelectorAll('.row li').length;
            const busy = document.querySelector('.progress.on');
            if (examples === 2 && !busy) done(performance.now() - started);
            else requestAnimationFrame(look);
          };
          card.focus();
          card.dispatchEvent(new KeyboardEvent('keydown', {key: 'p', bubbles: true}));
          requestAnimationFrame(look);
        })""",
        card.element_handle(),
    )
    return float(label - page.evaluate(_SEARCH_TIME)[0])


def footprints(page: Page, url: str, example: str) -> float:
    """Return the time from an answer of 10,000 chips to all of them on the map [milliseconds]."""
    before = page.evaluate(_SEARCH_TIME)[1]
    page.goto(f"{url}/#for={example}&most={_FOOTPRINTS}")
    page.wait_for_function(
        "before => performance.getEntriesByType('resource')"
        ".filter(each => each.name.endsWith('/v1/search')).at(-1).responseEnd > before",
        arg=before,
    )
    answered = float(page.evaluate(_SEARCH_TIME)[1])
    page.wait_for_function(_IS_DRAWN, arg=answered)
    return float(page.get_attribute(".map .canvas", "data-drawn") or "nan") - answered


def cutoff(page: Page, rest_ms: int) -> float:
    """Return how long a step of the cutoff takes to be shown, with the footprints there [milliseconds].

    Median of `_STEPS` steps towards the example; ``rest_ms``: pause before each. Without one, as a hand
    drags, a step waits for the frame of the one before, too.
    """
    page.wait_for_selector(".cutoff-slider")
    steps = page.evaluate(
        """async ([count, rest]) => {
          const slider = document.querySelector('.cutoff-slider');
          const nextFrame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
          const times = [];
          for (let step = 0; step < count && Number(slider.value) > Number(slider.min); step++) {
            await nextFrame();
            if (rest) await new Promise(done => setTimeout(done, rest));
            const started = performance.now();
            slider.value = Number(slider.value) - 1;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
            await nextFrame();
            times.push(performance.now() - started);
          }
          return times;
        }""",
        [_STEPS, rest_ms],
    )
    return float(statistics.median(steps))


def violations(page: Page) -> int:
    """Return how many rules of WCAG 2.2 AA axe-core finds broken."""
    page.evaluate(_AXE.read_text() + "\n;window.axe = window.axe ?? axe; undefined")
    found: dict[str, list[Any]] = page.evaluate(
        "() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})"
    )
    return len(found["violations"])


def measure(url: str) -> Figures:
    """Return the figures of the page at ``url``."""
    with Client(url) as client:
        example = client.search(SearchRequest(point=_somewhere(client), k=1)).features[0].id
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    flags = ["--no-sandbox", "--enable-unsafe-swiftshader"]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=flags)
        visits = [visit(browser, url, example) for _ in range(ROUNDS)]
        browser.close()
    return {name: _median([each[name] for each in visits]) for name in visits[0]}


def _somewhere(client: Client) -> tuple[float, float]:
    """Return a place that has a chip: one of the answer to a code of zeros."""
    bits = client.snapshot().bits
    [match] = client.search(SearchRequest(code="00" * (bits // 8), k=1)).features
    assert match.bbox is not None
    west, south, east, north = match.bbox
    return (west + east) / 2, (south + north) / 2


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 2) if known else None


def over_budget(figures: Figures) -> list[str]:
    """Return a line for each figure that is over its budget; one that wasn't measured isn't."""
    return [
        f"{name}: {value:g}, its budget is {BUDGETS[name]:g}"
        for name, value in figures.items()
        if value is not None and value > BUDGETS.get(name, math.inf)
    ]


def main() -> int:
    """Measure, and print one line of JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chips", type=int, default=2_000_000, help="of the made-up table")
    parser.add_argument("--service", help="address of a service that runs, without keys")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its budget")
    arguments = parser.parse_args()
    if arguments.service:
        figures = measure(arguments.service.rstrip("/"))
    else:
        with service(arguments.chips) as url:
            figures = measure(url)
    print(json.dumps({"page": figures}))
    exceeded = over_budget(figures) if arguments.check else []
    for line in exceeded:
        print(f"over budget: {line}", file=sys.stderr)
    return 1 if exceeded else 0


if __name__ == "__main__":
    raise SystemExit(main())
