"""Three Ray nodes and an S3 server, each on a machine of its own: a network namespace of this one."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.machines import Network
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY
from pipelines.storage.store import Store
from tests.cluster import store_server
from tests.cluster.ray_nodes import REPOSITORY, Cluster

_STORE_SECONDS = 60


@pytest.fixture(scope="package")
def network() -> Iterator[Network]:
    """A network of machines. Skips where this user may have none."""
    if shutil.which("ip") is None:
        pytest.skip("no ip(8) here: apt-get install iproute2")
    try:
        network = Network()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here, which take root's rights: {error.stderr.strip()}")
    try:
        yield network
    finally:
        network.remove()


@pytest.fixture(scope="package")
def remote_store(network: Network) -> Store:
    """A store on an S3 server of another machine."""
    os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    machine = network.add("store")
    command = [sys.executable, store_server.__file__, f"{machine.folder}/weed", machine.address]
    process = machine.start(command, os.environ | {"PYTHONPATH": str(REPOSITORY)})
    deadline = time.monotonic() + _STORE_SECONDS
    while store_server.IS_UP not in machine.log.read_bytes():
        assert process.poll() is None, machine.log.read_text()
        assert time.monotonic() < deadline, machine.log.read_text()
        time.sleep(0.1)
    return Store(StoreConfig(endpoint=f"http://{machine.address}:{store_server.PORT}"))


@pytest.fixture(scope="package")
def cluster(
    network: Network, remote_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Cluster:  # after the store: nodes inherit its keys
    """Three Ray nodes that ask for a token."""
    return Cluster(network, tmp_path_factory.mktemp("cluster") / "token")
