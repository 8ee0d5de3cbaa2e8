"""A Ray cluster of its own to submit jobs to, with token authentication."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from pipelines.demo.objectstore import free_port

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A head node that is running."""

    environment: dict[str, str]
    """In which the command line of the jobs API finds it"""
    address: str
    """For drivers: RAY_ADDRESS"""
    folder: Path
    """Of its sessions: logs, and what Prometheus reads"""


@contextmanager
def running_head(log_path, **extra):
    """Run a head node on free ports, its output in a file, with ``extra`` environment variables."""
    port, dashboard = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="ray-")  # short: Ray puts sockets there
    # without `ray_local`'s HAProxy: one of this cluster's would have the same ports, and may outlive the head
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_SERVE_")}
    environment = {
        **inherited,
        **extra,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    environment.pop("RAY_JOB_ID", None)
    start = [BIN / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=4"]
    start += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--node-ip-address=127.0.0.1"]
    start += [f"--dashboard-agent-listen-port={free_port()}", f"--temp-dir={folder}"]
    with log_path.open("wb") as log:
        head = subprocess.Popen(start, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        _wait_for(environment["RAY_ADDRESS"], head, log_path)
        yield Head(environment, f"127.0.0.1:{port}", Path(folder))
    finally:
        os.killpg(head.pid, signal.SIGKILL)  # the head node and all that it has started
        head.wait()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(store, tmp_path_factory):
    """A head node with token authentication; yields the environment of its command line."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a-token-for-this-test-only"}
    with running_head(tmp_path_factory.mktemp("cluster") / "ray.log", **token) as head:
        yield head.environment


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
