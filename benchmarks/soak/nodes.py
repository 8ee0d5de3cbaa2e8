"""A Ray cluster of several machines; the service runs on it, and jobs run on its head.

Each machine is a network namespace of this one (`benchmarks.machines`). The head takes no tasks; it and its
proxy aren't killed as a whole, as a cluster without its head is none.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from benchmarks.machines import Machine, Network
from pipelines.serve.proxy import SETTINGS

REPOSITORY = Path(__file__).parents[2]
_BIN = Path(sys.executable).parent
_START_SECONDS = 120
_READY_SECONDS = 600  # on a new machine kernels are compiled first
_OBJECT_STORE_BYTES = 100_000_000
_PORT = 8000
_WORKERS = 2
# seconds, not minutes, until a node that is gone counts as dead
_HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}


class Cluster:
    """A head and two workers; workers may be killed, and others join."""

    def __init__(self, network: Network, environment: Mapping[str, str]) -> None:
        """Start the nodes, and wait until they are there. ``environment``: what all of it inherits."""
        self._network, self._count = network, 0
        self._environment = {**os.environ, **environment, **_HEALTH_CHECKS}
        self._environment["PATH"] = f"{_BIN}{os.pathsep}{os.environ['PATH']}"
        self._environment |= {"PYTHONPATH": str(REPOSITORY), "RAY_AUTH_MODE": "disabled"}
        for name in ("RAY_ADDRESS", "RAY_JOB_ID", "RAY_TMPDIR"):
            self._environment.pop(name, None)
        self._changing = threading.Lock()
        self.head = network.add("head")
        self.workers: list[Machine] = []
        head = self._start(self.head, "--head", "--num-cpus=0", "--include-dashboard=false")
        _wait_for(self.head, head)
        for _ in range(_WORKERS):
            self.join()
        self.url = f"http://{self.head.address}:{_PORT}"

    def join(self) -> Machine:
        """Start another worker, and wait until it has joined."""
        with self._changing:
            self._count += 1
            worker = self._network.add(f"worker{self._count}")
        started = self._start(worker, f"--address={self.head.address}:6379", "--num-cpus=2")
        _wait_for(worker, started)
        with self._changing:
            self.workers.append(worker)
        return worker

    def kill_worker(self) -> Machine:
        """Kill all that runs on the worker that joined first; return it."""
        with self._changing:
            worker = self.workers.pop(0)
        worker.kill()
        return worker

    def _start(self, machine: Machine, *arguments: str) -> subprocess.Popen[bytes]:
        command: list[str | Path] = [
            _BIN / "ray",
            "start",
            f"--node-ip-address={machine.address}",
            *arguments,
        ]
        command += [f"--temp-dir={machine.folder}", f"--object-store-memory={_OBJECT_STORE_BYTES}"]
        return machine.start(command, self._environment_of(machine))

    def _environment_of(self, machine: Machine) -> dict[str, str]:
        """Return the environment of what runs on a machine: HAProxy, as the service uses it by default."""
        folder = machine.folder / "haproxy"
        folder.mkdir(mode=0o700, exist_ok=True)
        temporary = machine.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        haproxy = {
            "ENABLE_HA_PROXY": "1",
            "HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
            "HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
            "HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
            "HAPROXY_SERVER_STATE_BASE": str(folder),
            "HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
            "DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        }
        of_serve = {f"RAY_SERVE_{name}": value for name, value in (SETTINGS | haproxy).items()}
        return self._environment | of_serve | {"TMPDIR": str(temporary)}

    def start_job(
        self, job: str, flags: Mapping[str, object], output: Path, *words: str
    ) -> subprocess.Popen[bytes]:
        """Start ``python -m jobs.<job>`` on the head; what it prints goes to a file."""
        command = [sys.executable, "-m", f"jobs.{job}", *words]
        command += [f"--{name}={value}" for name, value in flags.items()]
        environment = self._environment_of(self.head) | {"RAY_ADDRESS": f"{self.head.address}:6379"}
        return self.head.start(command, environment, output)

    def run_job(self, job: str, flags: Mapping[str, object], output: Path, *words: str) -> int:
        """Run a job to its end; return its exit code."""
        return self.start_job(job, flags, output, *words).wait()

    def serve(self, flags: Mapping[str, object], output: Path) -> subprocess.Popen[bytes]:
        """Start the service, and wait until it is ready."""
        service = self.start_job("serve", {"host": "0.0.0.0", "port": _PORT, **flags}, output)
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and service.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=5).is_success:
                    return service
            time.sleep(0.5)
        raise RuntimeError(f"the service isn't ready:\n{output.read_text()[-3000:]}")

    def machines(self) -> Sequence[Machine]:
        """Return the machines that run."""
        with self._changing:
            return [self.head, *self.workers]

    def replicas(self, name: str) -> list[psutil.Process]:
        """Return the processes of the service whose title has this in it, on all machines."""
        found = []
        for machine in self.machines():
            for process in machine.processes():
                with suppress(psutil.Error):
                    if name in " ".join(process.cmdline()[:1]):
                        found.append(process)
        return found


def _wait_for(machine: Machine, started: subprocess.Popen[bytes]) -> None:
    """Wait until `ray start` has ended: its node is there then."""
    if started.wait(_START_SECONDS) != 0:
        raise RuntimeError(f"{machine.name} doesn't start:\n{machine.log.read_text()[-3000:]}")
