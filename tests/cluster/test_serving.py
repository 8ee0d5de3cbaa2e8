"""The service spread over nodes: one of them is killed under load, and clients don't notice."""

import hashlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest

from pipelines.client import Client, SearchRequest
from tests.pipelines.serve.conftest import KEY, make_archive

pytestmark = pytest.mark.timeout(600)

APP, PORT = "scenehash", 8000
CLIENTS, K = 4, 5
LOAD_SECONDS, SPREAD_SECONDS = 3, 60
INGRESSES = 2


@pytest.fixture
def archive(remote_store):
    return make_archive(remote_store, "for-a-cluster")


@pytest.fixture
def url(cluster, archive, tmp_path):
    """The address of the service over the archive: two replicas of each of two shards."""
    flags = {"table": archive.table, "store.endpoint": archive.store.config.endpoint, "host": "0.0.0.0"}
    flags |= {"port": PORT, "key_hashes": hashlib.sha256(KEY.encode()).hexdigest(), "index_folder": tmp_path}
    flags |= {
        "max_replicas_per_node": 1,
        "shards": 2,
        "shard_replicas": 2,
        "ingress_replicas": INGRESSES,
        "shard_cpus": 0.1,
        "encoder_cpus": 0.1,
    }
    url = f"http://{cluster.head.address}:{PORT}"
    with cluster.submitted("serve", "serve", flags) as service:
        wait_until_ready(url, service)
        yield url
        cluster.stop("serve")


def test_a_node_is_killed_under_load(cluster, archive, url):
    replicas = wait_until_spread(cluster)
    killed = next(worker for worker in cluster.workers if worker.address in replicas["Ingress"])
    stop = Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask_until, stop, url, archive, seed) for seed in range(CLIENTS)]
        try:
            time.sleep(LOAD_SECONDS)
            killed.kill()
            cluster.workers.remove(killed)
            while any(killed.address in addresses for addresses in cluster.replicas(APP).values()):
                time.sleep(0.2)
            noticed = time.monotonic()
            time.sleep(LOAD_SECONDS)
        finally:
            stop.set()
    assert all(client.result() > noticed for client in clients)


def ask_until(stop, url, archive, seed):
    """Ask and check each answer against brute force over the table; return when the last one came."""
    draw, ids = random.Random(seed), archive.ids()
    with Client(url, KEY) as client:
        while not stop.is_set():
            row = draw.randrange(len(ids))
            code_Y = archive.code(row)
            by_code = SearchRequest(code=code_Y.tobytes().hex(), k=K), archive.nearest(code_Y)
            by_chip = SearchRequest(chip_ids=(ids[row],), k=K), archive.nearest(code_Y, leave_out=ids[row])
            request, wanted = draw.choice([by_code, by_chip])
            found = client.search(request).features
            assert [(match.properties.distance, match.id) for match in found] == wanted[:K]
    return time.monotonic()


def wait_until_spread(cluster):
    """Return the nodes of the replicas once there are all; ready is the service with one of each."""
    workers, deadline = {worker.address for worker in cluster.workers}, time.monotonic() + SPREAD_SECONDS
    while True:
        replicas = cluster.replicas(APP)
        spread = [set(replicas[f"Shard{number}"]) for number in (0, 1)]
        if spread == [workers, workers] and len(replicas["Ingress"]) == INGRESSES:
            return replicas
        assert time.monotonic() < deadline, spread
        time.sleep(0.2)


def wait_until_ready(url, service):
    while True:
        assert service.poll() is None, service.communicate()[0]
        try:
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
