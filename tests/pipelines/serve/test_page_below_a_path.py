"""The page below a path, where another app puts it: all that it loads and asks is below that path."""

import re
import shutil
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from pipelines.serve.app import Ingress
from pipelines.serve.web_page import BUILT
from tests.pipelines.serve.conftest import Archive
from tests.pipelines.serve.listening import listening

PREFIX = "/a/b"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_BUILT_NAME = re.compile(r"[\w./-]*[\w-]+-[\w-]{8}\.(?:m?js|css|json|svg)\b")  # with the hash of its content
_TEXTS = {".css", ".html", ".js", ".mjs"}

pytestmark = pytest.mark.skipif(
    not (BUILT / "index.html").is_file(), reason="SKIPPED: the page isn't built; `make page` builds it"
)


@pytest.fixture(scope="module", name="below")
def below_fixture(alone: Ingress) -> Iterator[str]:
    """The address of the service below a path of another app."""
    app = Starlette(routes=[Mount(PREFIX, alone.__serve_build_asgi_app__())])
    with listening(app) as url:
        yield f"{url}{PREFIX}"


def test_every_file_that_the_page_names_is_below_the_path(below: str) -> None:
    """Followed from page to scripts, and from these on."""
    left, found = [f"{below}/", f"{below}/docs"], dict[str, str]()
    while left:
        address = left.pop()
        answer = httpx.get(address)
        assert answer.is_success, address
        is_text = "text/" in answer.headers["Content-Type"]
        found[address] = answer.text if is_text else ""
        for name in _BUILT_NAME.findall(found[address]):
            # scripts name what they import from their own folder, or with "assets/" from the page's
            base = f"{below}/" if name.startswith("assets/") else address
            left += [each for each in [urljoin(base, name)] if each not in found and each not in left]
    named = {urlsplit(address).path for address in found}
    built = {f"{PREFIX}/assets/{path.name}" for path in (BUILT / "assets").iterdir() if path.suffix != ".gz"}
    assert named == built | {f"{PREFIX}/", f"{PREFIX}/docs"}


def test_no_built_file_names_a_path_of_the_host_s_own() -> None:
    absolute = re.compile(r"""(?:["'`(=]|url\()/(?:assets|docs|favicon|licences|openapi)\b|(?:src|href)="/""")
    for path in BUILT.rglob("*"):
        if path.suffix in _TEXTS:
            assert not absolute.findall(path.read_text()), path.name


def test_a_browser_asks_for_nothing_that_isn_t_below_the_path(below: str, archive: Archive) -> None:
    """The scripts name the API's paths, which they put behind the page's own."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="SKIPPED: no playwright; `make setup` installs it"
    )
    if CHROMIUM is None:
        pytest.skip("SKIPPED: no Chromium; `apt-get install chromium`")
    asked: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{below}/#for={archive.ids()[5]}")
        page.wait_for_selector(".map .canvas[data-ready]", state="attached", timeout=60_000)
        page.wait_for_selector(".card")
        page.wait_for_selector(".card .picture.missing")  # this service makes no pictures
        browser.close()
    paths = [urlsplit(each).path for each in asked if not each.startswith(("blob:", "data:"))]
    assert not [path for path in paths if not path.startswith(f"{PREFIX}/")]
    for name in ("", "v1/snapshot", "v1/search", "v1/search/grid"):
        assert f"{PREFIX}/{name}" in paths
    assert [path for path in paths if path.endswith("/thumbnail")]
