"""SIGTERM, as `kill` and schedulers send it, ends a job as Ctrl-C does: what it has started is stopped."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.server

_JOB = """
import sys, threading
from pathlib import Path
from pydantic import BaseModel
from jobs.command import run_job
from pipelines.demo.objectstore import object_store
from pipelines.runtime.cluster import connected

class Config(BaseModel):
    pass

def run(config):
    with object_store(Path(sys.argv[1]), "bucket"), connected():
        print("started", flush=True)
        threading.Event().wait()

raise SystemExit(run_job("waiting", Config, run, []))
"""


def test_what_a_job_has_started_ends_with_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _JOB, str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "started\n"
        started = psutil.Process(job.pid).children(recursive=True)
        names = {process.name() for process in started}
        assert {"weed", "raylet"} <= names
        job.send_signal(signal.SIGTERM)
        assert job.wait(30) == 128 + signal.SIGTERM
    deadline = time.monotonic() + 10
    while any(process.is_running() for process in started) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [process.name() for process in started if process.is_running()] == []
