"""Every half minute something dies, oftener in a short soak: another kind each time, in turn.

A death counts once it has happened: the process is gone, the store refuses, the disk is full.
"""

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path

import psutil

from benchmarks.soak.background import in_background
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.nodes import Cluster
from benchmarks.soak.outage import Way

KINDS = ("shard", "store", "ingress", "node", "disk", "proxy")
"""What dies, in turn."""

_LONGEST_PAUSE_SECONDS = 30.0
_OUTAGE_SECONDS = 5.0
_FULL_SECONDS = 10.0
_GONE_SECONDS = 10.0
_PIECE = 1 << 16  # bytes that a ballast grows by

REPLICA = "ServeReplica:scenehash:"
"""How the titles of the service's replicas begin."""


def pause_of(minutes: float) -> float:
    """Return the time between two deaths of a soak that takes so long [s]: each kind happens."""
    # disk and store are away for a while themselves, and the last death needs time to do harm
    return min(_LONGEST_PAUSE_SECONDS, (60 * minutes - _OUTAGE_SECONDS - _FULL_SECONDS) / (len(KINDS) + 1))


class NotDoneError(Exception):
    """A death that couldn't be brought about, and why."""


class Deaths:
    """Brings about one death after the other, in a thread, until it is stopped."""

    def __init__(
        self, cluster: Cluster, way: Way, disk: Path | None, ledger: Ledger, pause_seconds: float
    ) -> None:
        """``disk``: a file system of its own, which may be filled; None: there is none."""
        self._cluster, self._way, self._disk, self._ledger = cluster, way, disk, ledger
        self._pause_seconds = pause_seconds
        self._draw = random.Random(0)
        self._stop = threading.Event()
        self._joining: list[threading.Thread] = []
        self.not_done: list[str] = []
        """What couldn't be brought about, and why."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let things die while the context lasts; wait for what is still going on."""
        try:
            with in_background("deaths", self._run, self._stop):
                yield
        finally:
            for joining in self._joining:
                joining.join()

    def _run(self) -> None:
        deaths = (self._shard, self._store, self._ingress, self._node, self._full_disk, self._proxy)
        for kind, death in cycle(zip(KINDS, deaths, strict=True)):
            if self._stop.wait(self._pause_seconds):
                return
            try:
                death()
            except NotDoneError as reason:
                self.not_done.append(f"{kind}: {reason}")
                self._ledger.note("NOT DONE", kind=kind, reason=reason)
                print(f"NOT DONE, and not counted: {kind}: {reason}", flush=True)

    def _shard(self) -> None:
        self._kill("shard", f"{REPLICA}Shard")

    def _ingress(self) -> None:
        self._kill("ingress", f"{REPLICA}Ingress")

    def _proxy(self) -> None:
        """Kill HAProxy, which takes all requests."""
        for process in self._cluster.head.processes():
            with suppress(psutil.Error):
                if process.name() == "haproxy":
                    self._kill_process("proxy", process)
                    return
        raise NotDoneError("no HAProxy runs on the head")

    def _kill(self, kind: str, title: str) -> None:
        replicas = self._cluster.replicas(title)
        if not replicas:
            raise NotDoneError(f"no {title} runs")
        self._kill_process(kind, self._draw.choice(replicas))

    def _kill_process(self, kind: str, process: psutil.Process) -> None:
        title = " ".join(process.cmdline()[:1])
        self._ledger.died(kind, what=title, pid=process.pid)  # before anybody can notice
        process.kill()
        if psutil.wait_procs([process], _GONE_SECONDS)[1]:
            raise RuntimeError(f"process {process.pid} can't be killed")

    def _node(self) -> None:
        """Kill a worker with all that runs on it; another joins."""
        if len(self._cluster.workers) < 2:
            raise NotDoneError("the last worker that was killed has no successor yet")
        self._ledger.died("node", what=self._cluster.workers[0].name)
        self._cluster.kill_worker()
        joining = threading.Thread(target=self._cluster.join)
        joining.start()
        self._joining.append(joining)

    def _store(self) -> None:
        self._way.closed.set()
        self._ledger.died("store", seconds=_OUTAGE_SECONDS)
        time.sleep(_OUTAGE_SECONDS)
        self._way.closed.clear()

    def _full_disk(self) -> None:
        """Fill the disk of indices and pictures for a while."""
        if self._disk is None:
            raise NotDoneError("a small file system for the index folder can't be mounted here: no rights")
        ballast = self._disk / "ballast"
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(_PIECE))
            left = shutil.disk_usage(self._disk).free
            if left > _PIECE:
                raise NotDoneError(f"{left} bytes are left on {self._disk}")
            self._ledger.died("disk", seconds=_FULL_SECONDS)
            time.sleep(_FULL_SECONDS)
        finally:
            ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path | None]:
    """Mount a small file system at a folder; yield None if this process has no right to."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True) if os.getuid() == 0 else None
    if done is None or done.returncode != 0:
        print(f"NOT DONE: no full disk: {done.stderr if done else 'root alone may mount'}", flush=True)
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
