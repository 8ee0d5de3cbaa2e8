import subprocess
import sys
import time

import httpx
import pytest
from rich.console import Console

from pipelines.demo.objectstore import free_port
from pipelines.demo.processes import run_job, running
from pipelines.errors import ScenehashError

pytestmark = pytest.mark.server

SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[2], "w").write(str(child.pid))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def is_running(pid: int) -> bool:
    state = subprocess.run(
        ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return state.stdout.strip() not in ("", "Z")


def test_a_server_is_stopped_with_all_that_it_has_started(tmp_path):
    port, child = free_port(), tmp_path / "child"
    command = [sys.executable, "-c", SERVER, str(port), str(child)]
    with running(command, tmp_path / "log", f"http://127.0.0.1:{port}/"):
        assert is_running(int(child.read_text()))
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/")
    deadline = time.monotonic() + 10
    while is_running(int(child.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(int(child.read_text()))


def test_a_server_that_does_not_come_up_shows_its_log(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no room')"]
    with (
        pytest.raises(ScenehashError, match="no room"),
        running(command, tmp_path / "log", f"http://127.0.0.1:{free_port()}/"),
    ):
        pass


def test_a_job_that_fails_says_why(tmp_path):
    with pytest.raises(ScenehashError, match=r"exit code 2:\n(.|\n)*source: is required"):
        run_job(Console(quiet=True), "nightly", {"table": "t"}, tmp_path / "log")
