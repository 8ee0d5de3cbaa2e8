"""The page's files as the service sends them: headers, caching, and what is said where they are left out."""

import gzip
import json
import re
import shutil
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from infra import page_hook
from pipelines.serve import web_page as page
from pipelines.serve.app import Ingress, openapi
from pipelines.serve.config import ServeConfig
from pipelines.serve.prometheus import RequestMetrics
from pipelines.serve.refusals import add_handlers
from tests.pipelines.serve.conftest import Archive

REPOSITORY = Path(__file__).parents[3]
BUILT = (page.BUILT / "index.html").is_file()
needs_page = pytest.mark.skipif(not BUILT, reason="SKIPPED: the page isn't built; `make page` builds it")


@pytest.fixture(name="app")
def app_fixture(monkeypatch):
    """Return a function that makes a client of an app with the page's routes alone."""

    def make(*, wanted=True, built=page.BUILT):
        monkeypatch.setattr(page, "BUILT", built)
        page.built_files.cache_clear()
        app = FastAPI(docs_url=None)
        add_handlers(app, RequestMetrics())
        page.add_page(app.router, wanted=wanted)
        return TestClient(app)

    yield make
    page.built_files.cache_clear()


def test_the_contract_that_the_page_is_built_for_is_the_service_s():
    known = json.loads((REPOSITORY / "web/openapi.json").read_text())
    assert known == json.loads(json.dumps(openapi())), "stale: `make web/openapi.json`, then `make page`"


@needs_page
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_asks_no_other_host(app, path):
    answer = app().get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Cache-Control"] == "no-cache"
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "worker-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' blob: data:",
        "style-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    addresses = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert addresses
    assert all(address.startswith("./") for address in addresses), "a proxy may put it below any path"


@needs_page
def test_an_asset_is_kept_for_good_and_the_page_is_asked_for_again(app):
    client = app()
    start = client.get("/")
    assert client.get("/", headers={"If-None-Match": start.headers["ETag"]}).status_code == 304
    assert client.get("/", headers={"If-None-Match": '"another"'}).status_code == 200
    scripts = re.findall(r'src="\./(assets/[^"]+\.js)"', start.text)
    for name in scripts:
        asset = client.get(f"/{name}")
        assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert asset.headers["Content-Type"].startswith("text/javascript")
        assert re.search(r"-[\w-]{8}\.js$", name), "its name has a hash of its content"


@needs_page
def test_packed_where_the_client_takes_it(app):
    client = app()
    [name] = [
        path for path in page.built_files() if path.startswith("assets/index-") and path.endswith(".js")
    ]
    plain = client.get(f"/{name}", headers={"Accept-Encoding": "identity"})
    packed = client.get(f"/{name}", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 2
    assert packed.content == plain.content  # the client has unpacked it


@needs_page
def test_what_is_packed_is_what_is_plain():
    for path, file in page.built_files().items():
        if file.packed is not None:
            assert gzip.decompress(file.packed) == file.content, path


@needs_page
@pytest.mark.parametrize("name", ["gone-12345678.js", "..%2f..%2fapp.py", "index.html", "%00"])
def test_a_missing_asset_is_an_error_and_no_page(app, name):
    answer = app().get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["code"] == "no_such_path"


def test_left_out(app):
    for path in ("/", "/docs", "/assets/x.js"):
        answer = app(wanted=False).get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_page")
        assert "start the service without --no-page" in answer.json()["hint"]


@pytest.mark.parametrize("wanted", [False, True])
def test_the_config_says_whether_there_is_a_page(archive: Archive, tmp_path: Path, wanted: bool) -> None:
    config = ServeConfig(
        table=archive.table,
        store=archive.store.config,
        open=True,
        page=wanted,
        index_folder=tmp_path,
        poll_seconds=3600,
    )
    ingress = Ingress(config, [], None, None)  # type: ignore[arg-type]
    answer = TestClient(ingress.__serve_build_asgi_app__()).get("/")
    said = answer.json()["code"] if answer.is_error else answer.headers["Content-Type"]
    assert said == (("text/html; charset=utf-8" if BUILT else "page_not_built") if wanted else "no_page")


def test_not_built(app, tmp_path):
    answer = app(built=tmp_path).get("/")
    assert (answer.status_code, answer.json()["code"]) == (404, "page_not_built")
    assert "make page" in answer.json()["hint"]


def test_a_wheel_without_the_page_or_with_an_old_one_isn_t_built(tmp_path):
    with pytest.raises(RuntimeError, match=r"isn.t built.*make page"):
        page_hook.check_page(tmp_path)
    built = tmp_path / page_hook.BUILT
    built.mkdir(parents=True)
    (built / "index.html").touch()
    with pytest.raises(RuntimeError, match=r"isn.t built.*sources.sha256 is missing.*make page"):
        page_hook.check_page(tmp_path)  # a build that was broken off
    (built / "sources.sha256").touch()
    page_hook.check_page(tmp_path)  # an image is built without web/
    sources = tmp_path / "web"
    (sources / "src").mkdir(parents=True)
    (sources / "src" / "main.ts").write_text("one")
    (built / "sources.sha256").write_text(page_hook.hash_of_sources(sources) + "\n")
    page_hook.check_page(tmp_path)
    (sources / "node_modules").mkdir()
    (sources / "node_modules" / "any.js").write_text("not a source")
    page_hook.check_page(tmp_path)
    for change in (
        lambda: (sources / "src" / "main.ts").write_text("two"),
        lambda: shutil.rmtree(sources / "src"),
    ):
        change()
        with pytest.raises(RuntimeError, match=r"older than its sources.*make page"):
            page_hook.check_page(tmp_path)


@needs_page
def test_the_page_is_built_of_the_sources_as_they_are():
    page_hook.check_page(REPOSITORY)


def test_the_lock_file_names_versions_and_no_addresses():
    packages = json.loads((REPOSITORY / "web/package-lock.json").read_text())["packages"]
    assert len(packages) > 100
    assert not [path for path, package in packages.items() if "resolved" in package]


@needs_page
def test_the_licences_of_what_is_bundled_are_there(app):
    text = app().get("/licences.txt").text
    bundled = json.loads((REPOSITORY / "web/package.json").read_text())["dependencies"]
    for name, version in bundled.items():
        assert f"\n{name} {version} (" in text
    assert "undefined" not in text


def test_the_service_itself_sends_the_page(url: str) -> None:
    answer = httpx.get(f"{url}/")
    assert answer.status_code == (200 if BUILT else 404)
    assert httpx.head(f"{url}/").status_code == answer.status_code
    assert httpx.get(f"{url}/redoc").json()["code"] == "no_such_path"
