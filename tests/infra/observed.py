"""A cluster as a user runs it, two nights, the service under requests, and Prometheus over all of it."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from model.bundle import pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.demo.objectstore import free_port
from pipelines.demo.processes import running
from pipelines.registry.bundles import write_bundle
from pipelines.storage.store import Store
from tests.conftest import make_scenes
from tests.jobs.conftest import REPOSITORY, running_head

OBSERVABILITY = REPOSITORY / "infra" / "observability"
_REPORT_MS = 2000  # how often Ray's processes report; a gauge that isn't set again is gone after twice that


@dataclass(frozen=True)
class Night:
    """A night that has ended."""

    exit_code: int
    report: dict[str, object]
    lines: list[str]
    """Of its standard error"""


@dataclass(frozen=True)
class Observed:
    """What is to be looked at."""

    prometheus: str
    service: str
    nights: list[Night]
    session: Path
    """Ray's folder of logs"""

    def query(self, expression: str, patience: float = 20) -> list[dict[str, object]]:
        """Return the series that an expression has now, as soon as there are any with a number."""
        deadline = time.monotonic() + patience
        while True:
            answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=10)
            assert answer.status_code == 200, answer.text
            series = answer.json()["data"]["result"]
            numbers = [one for one in series if one["value"][1] != "NaN"]
            if numbers or time.monotonic() > deadline:
                return numbers
            time.sleep(0.5)


@contextmanager
def observed(store: Store, folder: Path) -> Iterator[Observed]:
    """Run all of it. The first night publishes; the second one meets broken objects, and fails its gate."""
    root = f"s3://archive/{uuid4().hex}"
    scenes = make_scenes(store, root, count=6)
    common = [f"--table={root}/codes", f"--store.endpoint={store.config.endpoint}"]
    night = [*common, f"--bundle={_bundle(store, root)}", "--chip-size=16"]
    settings = {"RAY_metrics_report_interval_ms": str(_REPORT_MS), "RAY_prestart_worker_first_driver": "0"}
    with running_head(folder / "ray.log", **settings) as head, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", head.address)
        first = _run_night([f"--source={scenes.prefix}", *night])
        with _prometheus(folder, head.folder) as prometheus, _service(folder, common) as service:
            strict = ["--gate.max-reject-share=0.01"]
            with _asking(service):
                second = _run_night([f"--source={_second_day(store, root)}", *night, *strict])
                time.sleep(5 * _REPORT_MS / 1000)  # counters that rise, as they are reported
            yield Observed(prometheus, service, [first, second], head.folder / "session_latest")


def _bundle(store: Store, root: str) -> str:
    network = HashNetwork(NetworkSpec(backbone="resnet18", node="layer1", kind_bits=32), InputSpec(size=16))
    _, files = pack_bundle(network.eval(), "tiny", ("a", "b"), "run", {})
    write_bundle(f"{root}/bundle", files, store)
    return f"{root}/bundle"


def _second_day(store: Store, root: str) -> str:
    """Write a manifest of new scenes, broken objects and one that has gone; return its URI."""
    scenes = make_scenes(store, f"{root}/more", count=3)
    for number in range(3):
        store.write(f"{scenes.prefix}/zero-{number}.tif", b"")
    uris = [info.uri for info in store.list(scenes.prefix)]
    rows = [{"uri": uri, "etag": store.etag(uri)} for uri in uris]
    rows.append({"uri": f"{scenes.prefix}/gone.tif", "etag": "gone"})
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), content)
    store.write(f"{root}/second-day.parquet", content.getvalue())
    return f"{root}/second-day.parquet"


def _run_night(flags: list[str]) -> Night:
    command = [sys.executable, "-m", "jobs.nightly", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode in (0, 3), done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    return Night(done.returncode, report, done.stderr.splitlines())


@contextmanager
def _prometheus(folder: Path, ray: Path) -> Iterator[str]:
    """Run Prometheus with the repository's config: only quicker, and over this test's Ray."""
    config = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(OBSERVABILITY / file) for file in config["rule_files"]]
    (discovery,) = config["scrape_configs"][0]["file_sd_configs"]
    discovery["files"] = [file.replace("/tmp/ray", str(ray)) for file in discovery["files"]]
    discovery["refresh_interval"] = "1s"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--web.listen-address={address}"]
    command += [f"--storage.tsdb.path={folder}/tsdb", "--log.level=warn"]
    with running(command, folder / "prometheus.log", f"http://{address}/-/ready"):
        yield f"http://{address}"


@contextmanager
def _service(folder: Path, flags: list[str]) -> Iterator[str]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "jobs.serve", *flags, "--open", f"--port={port}"]
    command += [f"--index-folder={folder}/indices", "--poll-seconds=5"]  # longer than a gauge stays by itself
    with running(command, folder / "serve.log", f"{url}/readyz"):
        yield url


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Send searches, and requests that are refused, meanwhile."""
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not done.wait(0.2):
                assert client.post("/v1/search", json={"code": "00000000"}).status_code == 200
                assert client.get("/v1/nothing").status_code == 404
                assert client.post("/v1/encode", content=b"not an image").status_code == 415

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        done.set()
        asking.join()


def environment_has_prometheus() -> bool:
    """Whether Debian's package `prometheus`, which brings promtool, is installed."""
    folders = os.environ["PATH"].split(os.pathsep)
    return all(
        any((Path(folder) / name).exists() for folder in folders) for name in ("prometheus", "promtool")
    )
