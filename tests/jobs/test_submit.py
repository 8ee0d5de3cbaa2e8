"""`ray job submit` of this repository to a cluster of its own, with token authentication."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pytest
import torch

from model.bundle import pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.bundles import write_bundle
from pipelines.demo.objectstore import free_port
from pipelines.pointer import read_pointer
from pipelines.table import CodeTable

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture
def cluster(store, tmp_path):
    """A head node on free ports; yields the environment in which its command line finds it."""
    port, dashboard = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="ray-")  # short: Ray puts sockets there
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "a-token-for-this-test-only",
        "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    environment.pop("RAY_JOB_ID", None)
    start = [BIN / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=4"]
    start += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--node-ip-address=127.0.0.1"]
    start += [f"--dashboard-agent-listen-port={free_port()}", f"--temp-dir={folder}"]
    with (tmp_path / "ray.log").open("wb") as log:
        head = subprocess.Popen(start, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        _wait_for(environment["RAY_ADDRESS"], head, tmp_path / "ray.log")
        yield environment
    finally:
        os.killpg(head.pid, signal.SIGKILL)  # the head node and all that it has started
        head.wait()
        shutil.rmtree(folder)


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


@pytest.mark.timeout(300)
def test_encode_as_a_submitted_job(cluster, store, root, write_scenes):
    scenes = write_scenes(store, root, count=3)
    torch.manual_seed(0)
    network = HashNetwork(
        NetworkSpec(backbone="resnet18", node="layer1", hidden=0, num_bits=16), InputSpec(size=16)
    ).eval()
    manifest, files = pack_bundle(network, "tiny", ("a", "b"), "run", {})
    write_bundle(f"{root}/bundle", files, store)
    unauthenticated = httpx.get(f"{cluster['RAY_ADDRESS']}/api/jobs/", timeout=10)
    assert unauthenticated.status_code == 401

    submit = [BIN / "ray", "job", "submit", "--submission-id=nightly-2026-11-20"]
    submit += [f"--working-dir={REPOSITORY}", "--"]
    job = ["python", "-m", "jobs.nightly", f"--source={scenes.prefix}", f"--table={root}/codes"]
    job += [f"--bundle={root}/bundle", "--chip-size=16", f"--store.endpoint={store.config.endpoint}"]
    done = subprocess.run([*submit, *job], capture_output=True, text=True, env=cluster, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"chips":48' in done.stdout

    pointer = read_pointer(f"{root}/codes", store)
    table = CodeTable(f"{root}/codes", store).read(manifest.model_id, ["code"], pointer.table_version)
    assert len(table) == 48
    assert {len(code) for code in table["code"].to_pylist()} == {2}
