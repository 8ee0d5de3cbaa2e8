"""The demo's jobs, run as a user runs them: `python -m jobs.x` with flags."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from pipelines.errors import ScenehashError

_START_SECONDS = 600  # a first start compiles, for minutes where the machine is busy
_STOP_SECONDS = 30


def run_job(console: Console, name: str, flags: dict[str, str], log: Path) -> dict[str, Any]:
    """Print and run a job; return its report. Raises ScenehashError with the end of its log if it fails."""
    command = _command(console, name, flags)
    with log.open("wb") as errors:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, check=False)
    if done.returncode:
        raise ScenehashError(f"jobs.{name} failed, exit code {done.returncode}:\n{_end_of(log)}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def running_job(
    console: Console, name: str, flags: dict[str, str], log: Path, ready_url: str
) -> AbstractContextManager[None]:
    """Print a job that serves, and run it for the length of a ``with`` block (see `running`)."""
    return running(_command(console, name, flags), log, ready_url)


@contextmanager
def running(command: list[str], log: Path, ready_url: str) -> Iterator[None]:
    """Start a server; yield when ``ready_url`` answers 200; stop it and all its processes at the end.

    Raises ScenehashError with the end of its log if it doesn't come up.
    """
    with log.open("wb") as output:
        # in a session of its own, so that Ctrl-C reaches only the demo, which then stops the server
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(ready_url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ScenehashError(f"{command[2]} didn't come up:\n{_end_of(log)}")
            time.sleep(0.3)
        yield
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the process, if it still runs, and its children
    process.wait()


def _command(console: Console, name: str, flags: dict[str, str]) -> list[str]:
    words = [f"--{flag}={value}" if value else f"--{flag}" for flag, value in flags.items()]
    console.print(f"[bold]$ python -m jobs.{name}[/] " + " ".join(words), highlight=False, soft_wrap=True)
    return [sys.executable, "-m", f"jobs.{name}", *words]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
