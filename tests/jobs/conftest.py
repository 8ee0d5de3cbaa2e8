"""A Ray cluster of its own to submit jobs to, with token authentication."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pipelines.demo.objectstore import free_port

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@contextmanager
def running_head(folder, **extra):
    """Run a head node on free ports; yield the environment in which its command line finds it.

    ``folder`` is where its output goes; ``extra`` are environment variables of it and of all that it starts.
    """
    port, dashboard = free_port(), free_port()
    log_path = folder / "ray.log"
    session = tempfile.mkdtemp(prefix="ray-")  # short: Ray puts sockets there
    environment = (
        os.environ
        | extra
        | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
            "RAY_TMPDIR": session,
        }
    )
    environment.pop("RAY_JOB_ID", None)
    start = [BIN / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=4"]
    start += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--node-ip-address=127.0.0.1"]
    start += [f"--dashboard-agent-listen-port={free_port()}", f"--metrics-export-port={free_port()}"]
    start += [f"--temp-dir={session}"]
    with log_path.open("wb") as log:
        head = subprocess.Popen(start, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        _wait_for(environment["RAY_ADDRESS"], head, log_path)
        yield environment | {"GCS": f"127.0.0.1:{port}"}
    finally:
        os.killpg(head.pid, signal.SIGKILL)  # the head node and all that it has started
        head.wait()
        shutil.rmtree(session)


@pytest.fixture(scope="module")
def cluster(store, tmp_path_factory):
    """A head node with token authentication; yields the environment of its command line."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a-token-for-this-test-only"}
    with running_head(tmp_path_factory.mktemp("cluster"), **token) as environment:
        yield environment


def _wait_for(address, head, log):
    for _ in range(240):
        assert head.poll() is None, log.read_text()
        try:
            if httpx.get(f"{address}/api/version", timeout=2).status_code in (200, 401):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.25)
    pytest.fail(log.read_text())


@pytest.fixture
def submit(cluster):
    """Submit a job of this repository and wait for it; the finished process."""

    def run(submission_id, name, **flags):
        command = [BIN / "ray", "job", "submit", f"--submission-id={submission_id}"]
        command += [f"--working-dir={REPOSITORY}", "--", "python", "-m", f"jobs.{name}"]
        command += [f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items()]
        return subprocess.run(command, capture_output=True, text=True, env=cluster, check=False)

    return run
