"""The wheel, installed as a user installs it: the console script, a job's help, and a call of the client."""

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from infra import page_hook
from jobs.__main__ import JOBS
from pipelines.demo.objectstore import free_port

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("jobs", "model", "pipelines")

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        importlib.util.find_spec("hatchling") is None,
        reason="SKIPPED: no wheel is built without hatchling; `make setup` installs it",
    ),
]

CALL = """
import sys
from pathlib import Path
from pipelines import client
from pipelines.errors import QueryError

assert Path(client.__file__).is_relative_to(sys.prefix), client.__file__
with client.Client(sys.argv[1], "a-key") as scenehash:
    try:
        scenehash.search(client.SearchRequest(point=(-62.2, -3.1), k=20))
    except QueryError as error:
        print(type(error).__name__, error.status, error.code)
"""

PAGE = """
import sys
from pathlib import Path
import uvicorn
from fastapi import APIRouter, FastAPI
from pipelines.serve import web_page

assert Path(web_page.__file__).is_relative_to(sys.prefix), web_page.__file__
app, router = FastAPI(docs_url=None), APIRouter()
web_page.add_page(router, wanted=True)
app.include_router(router)
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""


class Refusing(BaseHTTPRequestHandler):
    """A service that refuses every search, as the real one refuses a key that it doesn't know."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"code": "unauthorized", "message": "unknown key", "hint": "ask for one"}'
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without network: pip would fetch hatchling for an isolated build."""
    folder = tmp_path_factory.mktemp("wheel")
    assert build(REPOSITORY, folder).returncode == 0
    (file,) = folder.glob("*.whl")
    return file


def build(sources, folder):
    """Build the wheel of a checkout into a folder."""
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--wheel-dir", folder]
    command = [sys.executable, "-m", "pip", "wheel", *options, sources]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of commands of a new environment that holds the wheel.

    Its dependencies are this environment's, by a .pth file: installing 6 GB of them would take minutes.
    A .pth file within a folder that a .pth file names isn't read, so this repository's editable
    install stays out, and what is imported is the wheel.
    """
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    install = ["install", "--no-deps", "--no-index", "--quiet", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", folder / "bin/python", *install], check=True)
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


def run(*command, cwd):
    """Run a command without this repository on Python's path."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_packages_and_says_that_they_are_typed(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    files = {
        str(file.relative_to(REPOSITORY)) for name in PACKAGES for file in (REPOSITORY / name).rglob("*.py")
    }
    assert files <= set(names)
    assert {f"{name}/py.typed" for name in PACKAGES} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)


@pytest.mark.parametrize("lacking", ["index.html", "sources.sha256"])
def test_no_wheel_without_the_page(tmp_path, lacking):
    """The hook is called: pyproject.toml names it."""
    checkout, wheels = tmp_path / "checkout", tmp_path / "wheels"
    built = checkout / page_hook.BUILT
    ignored = shutil.ignore_patterns(built.name, "__pycache__")
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, checkout / name, ignore=ignored)
    (checkout / "infra").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "infra/page_hook.py"):
        shutil.copy(REPOSITORY / name, checkout / name)
    built.mkdir()
    for name in {"index.html", "sources.sha256"} - {lacking}:
        (built / name).touch()
    said = build(checkout, wheels)
    assert said.returncode != 0
    assert f"{lacking} is missing; run `make page`" in said.stderr
    assert not list(wheels.glob("*.whl"))
    (built / lacking).touch()
    assert build(checkout, wheels).returncode == 0, "nothing else was missing"


def test_each_job_has_a_name(installed, tmp_path):
    said = run(installed / "scenehash", "--help", cwd=tmp_path)
    assert said.returncode == 0
    assert said.stdout.startswith(f"usage: scenehash {{{','.join(JOBS)}}}")
    assert run(installed / "scenehash", "weekly", cwd=tmp_path).returncode == 2


def test_a_job_is_the_wheel_s_and_not_of_a_folder_of_the_same_name(installed, tmp_path):
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    said = run(installed / "scenehash", "nightly", "--help", cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    assert "--source" in said.stdout
    refused = run(installed / "scenehash", "nightly", "--sauce=x", cwd=tmp_path)
    assert refused.returncode == 2
    assert "jobs.nightly: " in refused.stderr


def test_the_client_asks(installed, tmp_path):
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        said = run(installed / "python", "-c", CALL, url, cwd=tmp_path)
        server.shutdown()
    assert (said.stdout, said.stderr) == ("UnauthorizedError 401 unauthorized\n", "")


def test_the_page_is_in_it(installed, tmp_path):
    """All that the page loads comes out of the wheel: the map is drawn, and nothing else is asked for."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="SKIPPED: no playwright; `make setup` installs it"
    )
    if chromium is None:
        pytest.skip("SKIPPED: no Chromium; `apt-get install chromium`")
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [installed / "python", "-c", PAGE, str(port)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as service:
        try:
            wait_for(url, service)
            with playwright.sync_playwright() as started:
                browser = started.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
                )
                page = browser.new_page()
                missing = []
                page.on("response", lambda answer: missing.append(answer.url) if not answer.ok else None)
                page.goto(url)
                page.wait_for_selector(".map .canvas[data-ready]", state="attached", timeout=60_000)
                browser.close()
        finally:
            service.terminate()
    assert {address.removeprefix(url).split("/")[1] for address in missing} == {"v1"}, (
        "only the API isn't here"
    )


def wait_for(url, service):
    """Wait until somebody answers at an address."""
    deadline = time.monotonic() + 60
    while service.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            httpx.get(url)
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody answers at {url}")
