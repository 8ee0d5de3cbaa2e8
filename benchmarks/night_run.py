"""A whole night as its user runs it, and what its processes take meanwhile: for `benchmarks.night`."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psutil

from pipelines.config import StoreConfig

_EACH = 0.1  # seconds from one look at the processes to the next
_WRITER = "ray::Writer"
_PROCESSES = 8  # kinds of them that are printed


@dataclass
class Watched:
    """What the processes below one took."""

    cpu_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Of each kind of them, by what it was at: Ray renames its workers."""
    rss_mb: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    """Of the night's own process and of the one that writes: seconds, megabytes."""


@dataclass(frozen=True)
class Night:
    """One night from its command to its end."""

    report: dict[str, Any]
    """What it printed."""
    seconds: float
    watched: Watched
    events: list[tuple[str, float]]
    """Its log lines: what happened, how many seconds after the command."""

    @property
    def chips_per_second(self) -> float:
        """Chips of the whole night, by its whole time."""
        return float(self.report["chips"]) / self.seconds

    @property
    def chips_per_cpu_second(self) -> float:
        """Chips of the whole night, by the processor time of all its processes, Ray's among them."""
        return float(self.report["chips"]) / sum(self.watched.cpu_seconds.values())

    def processes(self) -> str:
        """Return where the processor time went, the most first."""
        most = sorted(self.watched.cpu_seconds.items(), key=lambda each: -each[1])[:_PROCESSES]
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in most)

    def growth(self) -> float:
        """Return the largest memory of the last third of the units, over that of the first third."""
        done = [at for event, at in self.events if event == "unit done"]
        third = (done[-1] - done[0]) / 3
        ratios = []
        for samples in self.watched.rss_mb.values():
            first = [mb for at, mb in samples if done[0] <= at <= done[0] + third]
            last = [mb for at, mb in samples if done[-1] - third <= at <= done[-1]]
            ratios.append(max(last) / max(first))
        return max(ratios)

    def stages(self) -> str:
        """Return where the time went."""
        at = dict(reversed(self.events))  # the first of each
        last = max((seconds for event, seconds in self.events if event == "unit done"), default=0.0)
        marks = {"planned": at.get("planned"), "first unit": at.get("unit done")}
        marks |= {"last unit": last or None, "published": at.get("night ended"), "ended": self.seconds}
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in marks.items() if seconds)


def run_night(store: StoreConfig, **flags: object) -> Night:
    """Run `jobs.nightly` with these flags on a Ray of its own; wait for its end."""
    command = [sys.executable, "-m", "jobs.nightly", "--json", f"--store.endpoint={store.endpoint}"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    began, started = datetime.now().astimezone(), time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        watched, over = Watched(), threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, started, watched, over))
        watcher.start()
        output, errors = process.communicate()
        seconds = time.monotonic() - started
        over.set()
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"the night failed: {errors[-3000:]}")
    return Night(json.loads(output), seconds, watched, _events(errors, began))


def _watch(pid: int, started: float, watched: Watched, over: threading.Event) -> None:
    """Look at a process and all below it, until they are over."""
    taken: dict[int, float] = defaultdict(float)
    night = psutil.Process(pid)
    while not over.wait(_EACH):
        with suppress(psutil.Error):
            for process in (night, *night.children(recursive=True)):
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    name = "driver" if process.pid == pid else _name(process)
                    watched.cpu_seconds[name] += times.user + times.system - taken[process.pid]
                    taken[process.pid] = times.user + times.system
                    if name in ("driver", _WRITER):
                        rss_mb = process.memory_info().rss / 1e6
                        watched.rss_mb[name].append((time.monotonic() - started, rss_mb))


def _name(process: psutil.Process) -> str:
    """Return what a process of Ray calls itself, without what is different in each call."""
    title = "".join(process.cmdline()[:1])  # one that has just ended has none
    return title.split(".")[0] if title.startswith("ray::") else str(process.name())


def _events(errors: str, began: datetime) -> list[tuple[str, float]]:
    events = []
    for line in errors.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(line)
            at = datetime.fromisoformat(said["timestamp"]) - began
            events.append((str(said["event"]), at.total_seconds()))
    return events
