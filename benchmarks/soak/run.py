"""The soak from beginning to end: what runs is built, is disturbed, comes to rest, and is looked at."""

import hashlib
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
import torch

from benchmarks.machines import Network
from benchmarks.soak.archive import CHIP, Archive
from benchmarks.soak.clients import Clients
from benchmarks.soak.deaths import Deaths, pause_of, small_disk
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.leftovers import local_left, objects_left
from benchmarks.soak.memory import Memory
from benchmarks.soak.nights import Nights, Places
from benchmarks.soak.nodes import Cluster
from benchmarks.soak.oracle import Oracle
from benchmarks.soak.outage import Way, way_to
from benchmarks.soak.questions import Questions
from model.bundle import pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.client import Client
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY, object_store
from pipelines.registry.bundles import write_bundle
from pipelines.storage.store import Store
from pipelines.table.pointer import read_pointer

_KEY = "a key for the soak"
_BITS = 32
_MODELS = {"one": (_BITS, 0), "two": (_BITS // 2, _BITS // 2)}
"""Bits of kind and look, by name."""
_DISK_MB = 200
_FOLLOW_SECONDS = 120.0
_STOP_SECONDS = 60
_SERVICE = {
    "shards": 2,
    "shard-replicas": 2,
    "ingress-replicas": 2,
    "max-replicas-per-node": 1,
    "shard-cpus": 0.1,
    "encoder-cpus": 0.1,
    "poll-seconds": 2,
    "kept-snapshots": 5,
    "picture-cache-mb": 4,
}


@dataclass(frozen=True)
class Scene:
    """All that takes part."""

    cluster: Cluster
    service: subprocess.Popen[bytes]
    nights: Nights
    clients: Clients
    deaths: Deaths
    memory: Memory
    index_folder: Path


def run_soak(minutes: float, ledger: Ledger) -> dict[str, float | int | None]:
    """Let things die for so many minutes; return the figures. Raises RuntimeError if nothing runs."""
    with scene(ledger, minutes) as parts:
        ledger.note("begins")
        ledger.started = time.monotonic()
        with parts.memory.watched(), parts.clients.running():
            with parts.deaths.running():
                parts.nights.run_until(time.monotonic() + 60 * minutes)
            come_to_rest(parts, ledger)
        stop(parts.service, ledger)
        look_for_files(parts, ledger)
        slopes, not_done = parts.memory.slopes(), parts.deaths.not_done
    figures = ledger.summary(minutes, max(slopes.values(), default=None))
    deaths = Counter(kind for kind, _ in ledger.deaths)
    ledger.note("soak", **figures, by_kind=deaths, outcomes=ledger.outcomes, slopes=slopes, not_done=not_done)
    return figures


@contextmanager
def scene(ledger: Ledger, minutes: float) -> Iterator[Scene]:
    """Build what takes part for so many minutes, and take all of it down again."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    os.environ |= keys
    with (
        TemporaryDirectory(prefix="scenehash-soak-") as name,
        small_disk(Path(name) / "index", _DISK_MB) as disk,
        machines() as network,
        object_store(Path(name) / "weed", "archive") as direct,
        way_to(urlsplit(direct).port or 80, network.address) as way,
    ):
        logs = Path(name) / "jobs"
        logs.mkdir()
        store = Store(StoreConfig(endpoint=direct))
        cluster = Cluster(network, keys)
        nights = first_nights(cluster, store, way, ledger, logs)
        flags: dict[str, object] = {"table": nights.places.table, "store.endpoint": way.endpoint, **_SERVICE}
        flags |= {"key-hashes": hashlib.sha256(_KEY.encode()).hexdigest()}
        flags |= {"index-folder": Path(name) / "index"}
        flags |= {"watches": nights.places.watches, "watch-hits": nights.places.hits}
        service = cluster.serve(flags, Path(name) / "serve.log")
        questions = Questions(nights.archive.lasting_chips(), _BITS, seed=1)
        clients = Clients(cluster.url, _KEY, questions, nights.archive, nights.oracle, ledger)
        deaths, memory = Deaths(cluster, way, disk, ledger, pause_of(minutes)), Memory(cluster)
        yield Scene(cluster, service, nights, clients, deaths, memory, Path(name) / "index")


@contextmanager
def machines() -> Iterator[Network]:
    """Yield a network of machines. Raises RuntimeError where this user may have none."""
    try:
        network = Network()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise RuntimeError(
            "machines of their own take root's rights and the command ip (iproute2)"
        ) from error
    try:
        yield network
    finally:
        network.remove()


def first_nights(cluster: Cluster, store: Store, way: Way, ledger: Ledger, logs: Path) -> Nights:
    """Write the archive and two models, and encode it for the first time; add watches."""
    places = Places("s3://archive/soak")
    archive = Archive(places.source, store)
    bundles = [write_model(places.bundles, name, parts, store) for name, parts in _MODELS.items()]
    oracle = Oracle(places.table, store)
    nights = Nights(cluster, archive, places, bundles, way.endpoint, oracle, store, ledger, logs)
    nights.first()
    nights.add_watches()
    return nights


def write_model(folder: str, name: str, parts: tuple[int, int], store: Store) -> str:
    """Write an untrained model of a small network; return where its bundle is."""
    torch.manual_seed(len(name) + sum(parts[1:]))
    kind, look = parts
    spec = NetworkSpec(backbone="resnet18", node="layer1", kind_bits=kind, look_bits=look, kind_weight=3)
    network = HashNetwork(spec, InputSpec(size=CHIP)).eval()
    _, files = pack_bundle(network, name, ("a", "b"), "soak", {})
    write_bundle(f"{folder}/{name}", files, store)
    return f"{folder}/{name}"


def come_to_rest(parts: Scene, ledger: Ledger) -> None:
    """Run a night that nothing disturbs; the service must follow it, and all hits must have come."""
    parts.nights.one()
    wanted = read_pointer(parts.nights.places.table, parts.nights.store).table_version
    headers, deadline = {"Authorization": f"Bearer {_KEY}"}, time.monotonic() + _FOLLOW_SECONDS
    served = None
    while served != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
        with suppress(httpx.HTTPError):
            answer = httpx.get(f"{parts.cluster.url}/v1/snapshot", headers=headers, timeout=10)
            served = answer.json()["snapshot"] if answer.is_success else served
    if served != wanted:
        ledger.harm("wrong_answers", what=f"version {wanted} is published, {served} is served")
    parts.nights.check_hits()
    with Client(parts.cluster.url, _KEY) as client:
        parts.nights.check_answered_hits(client, parts.clients.hits)


def stop(service: subprocess.Popen[bytes], ledger: Ledger) -> None:
    """Stop the service, as its user would."""
    service.send_signal(signal.SIGINT)
    try:
        service.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        ledger.harm("unexplained_errors", what=f"the service doesn't stop within {_STOP_SECONDS} seconds")


def look_for_files(parts: Scene, ledger: Ledger) -> None:
    """Count the files that nothing names."""
    nights = parts.nights
    left = objects_left(nights.places, nights.archive, nights.store) + local_left(parts.index_folder)
    if left:
        ledger.harm("files_left", len(left), files=left[:100])
