"""A Ray cluster whose nodes are machines of a network, reached from outside of it with a token."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.cluster.machines import Machine, Network

REPOSITORY = Path(__file__).parents[2]
_BIN = Path(sys.executable).parent
_TOKEN = "a-token-for-this-test-only"
_START_SECONDS = 60
_OBJECT_STORE_BYTES = 100_000_000
# seconds, not minutes, until a node that is cut off counts as dead, and its tasks as lost
_HEALTH_CHECKS = {
    "RAY_grpc_client_keepalive_time_ms": "5000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",  # a node that is cut off waits, however slow the test is
}


class Cluster:
    """A head node that takes no work, and two workers with a CPU each, one of them with a GPU; more may join.

    The GPU is what Ray is told; what runs on it finds none and takes the CPU.
    """

    def __init__(self, network: Network, token_file: Path) -> None:
        """Start the nodes and wait until they are there."""
        token_file.write_text(_TOKEN)
        self._network, self._count = network, 0
        self.head = network.add("head")
        self.address = f"http://{self.head.address}:8265"
        nodes = {"PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
        nodes |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file), "RAY_ADDRESS": ""}
        self.environment = os.environ | nodes | _HEALTH_CHECKS
        for name in ("RAY_ADDRESS", "RAY_JOB_ID"):
            self.environment.pop(name, None)
        head = self._start(self.head, "--head", "--num-cpus=0", f"--dashboard-host={self.head.address}")
        _joined(self.head, head)
        starting = [self._start_worker(gpus) for gpus in (0, 1)]
        self.workers = [_joined(*each) for each in starting]

    def join(self, gpus: int) -> Machine:
        """Start another worker, and wait until it has joined."""
        worker = _joined(*self._start_worker(gpus))
        self.workers.append(worker)
        return worker

    def _start_worker(self, gpus: int) -> tuple[Machine, subprocess.Popen[bytes]]:
        self._count += 1
        worker = self._network.add(f"worker{self._count}")
        head = f"--address={self.head.address}:6379"
        return worker, self._start(worker, head, "--num-cpus=1", f"--num-gpus={gpus}")

    def _start(self, machine: Machine, *arguments: str) -> subprocess.Popen[bytes]:
        command = [_BIN / "ray", "start", f"--node-ip-address={machine.address}", *arguments]
        command += [f"--temp-dir={machine.folder}", f"--object-store-memory={_OBJECT_STORE_BYTES}"]
        return machine.start(command, self.environment)

    @contextmanager
    def submitted(
        self, submission_id: str, job: str, flags: Mapping[str, object], **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Submit a job from outside; yield `ray job submit`, which follows the job to its end."""
        command = [_BIN / "ray", "job", "submit", f"--submission-id={submission_id}"]
        command += ["--", "python", "-m", f"jobs.{job}"]
        command += [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment | {"RAY_ADDRESS": self.address} | environment,
        ) as process:
            try:
                yield process
            finally:
                process.kill()  # it only follows

    def stop(self, submission_id: str) -> None:
        """Stop a job, and wait until it has ended."""
        self._call("POST", f"/api/jobs/{submission_id}/stop")
        while self._call("GET", f"/api/jobs/{submission_id}")["status"] == "RUNNING":
            time.sleep(0.1)

    def replicas(self, app: str) -> dict[str, list[str]]:
        """Return the addresses that the running replicas of each deployment of a Serve application are at."""
        deployments = self._call("GET", "/api/serve/applications/")["applications"][app]["deployments"]
        return {
            name: [each["node_ip"] for each in deployment["replicas"] if each["state"] == "RUNNING"]
            for name, deployment in deployments.items()
        }

    def _call(self, method: str, path: str) -> Any:
        """Return what the head's API answers."""
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        answer = httpx.request(method, f"{self.address}{path}", headers=headers, timeout=10)
        return answer.raise_for_status().json()


def _joined(machine: Machine, process: subprocess.Popen[bytes]) -> Machine:
    """Return the machine once `ray start` has ended: its node is there then."""
    assert process.wait(_START_SECONDS) == 0, machine.log.read_text()
    return machine
