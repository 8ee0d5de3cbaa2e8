"""Asks the demo's questions on the service's page: clicks in headless Chromium, and keeps what it showed."""

import importlib.util
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from playwright.sync_api import Page

_SIZE = {"width": 1280, "height": 720}
_PATIENCE_MS = 60_000
# as root in a container there is no sandbox; the second makes WebGL work without a graphics card
_FLAGS = ["--no-sandbox", "--enable-unsafe-swiftshader"]
_TILE = 512  # pixels of the world at zoom 0


@dataclass(frozen=True)
class Question:
    """A question to ask by clicking."""

    name: str
    """For the file of its picture"""
    place: tuple[float, float] | None
    """Where to click: longitude, latitude; None: ``picture`` is uploaded"""
    picture: bytes = b""


def find_chromium() -> str | None:
    """Return the path of Chromium, or None if it or Playwright isn't installed."""
    if importlib.util.find_spec("playwright") is None:
        return None
    return shutil.which("chromium") or shutil.which("chromium-browser")


def has_page(url: str) -> bool:
    """Return whether the service has its page: a checkout may not have built it."""
    return httpx.get(f"{url}/").is_success


def ask_by_clicking(chromium: str, url: str, questions: Sequence[Question], folder: Path) -> list[Path]:
    """Ask on the page at ``url``; return the PNG files with what it showed, in ``folder``."""
    from playwright.sync_api import sync_playwright

    shots = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page(viewport=_SIZE)  # type: ignore[arg-type]
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(url)
        page.wait_for_selector(".map .canvas[data-ready]")
        for question in questions:
            _ask(page, question)
            shots.append(folder / f"page_{question.name}.png")
            page.screenshot(path=shots[-1])
        browser.close()
    return shots


def _ask(page: "Page", question: Question) -> None:
    before = page.evaluate("location.hash")
    if question.place is None:
        file = {"name": "picture.png", "mimeType": "image/png", "buffer": question.picture}
        page.set_input_files(".find input[type=file]", file)  # type: ignore[arg-type]
    else:
        page.mouse.click(*_pixel(page, *question.place))
    page.wait_for_function("before => location.hash !== before", arg=before)
    page.wait_for_selector(".progress:not(.on)", state="attached")
    page.wait_for_function("() => document.querySelectorAll('.card img').length >= 9")
    page.wait_for_timeout(1000)  # the map draws


def _pixel(page: "Page", longitude: float, latitude: float) -> tuple[float, float]:
    """Return where a place is on the screen, in Web Mercator (EPSG:3857)."""
    box = page.locator(".map .canvas").bounding_box()
    view = page.get_attribute(".map .canvas", "data-view")
    assert box is not None  # noqa: S101 - it is there, and shown
    assert view is not None  # noqa: S101
    east, north, zoom = map(float, view.split(","))
    world = _TILE * 2**zoom
    x = box["x"] + box["width"] / 2 + ((longitude - east + 540) % 360 - 180) / 360 * world
    return x, box["y"] + box["height"] / 2 + (_down(latitude) - _down(north)) * world


def _down(latitude: float) -> float:
    """Return how far south of the equator a latitude is, as a share of the world's width."""
    return -math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2)) / (2 * math.pi)
