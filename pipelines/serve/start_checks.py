"""What can refuse a service: checked before anything slow is imported or started."""

import os
import socket
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.registry.bundles import read_manifest
from pipelines.serve.config import ServeConfig
from pipelines.storage.ranges import FOR_PICTURES
from pipelines.storage.store import Store
from pipelines.table.pointer import check_model, read_pointer

_PMTILES = b"PMTiles\x03"  # how an archive of version 3 begins
_RUNNING_CLUSTER = Path("/tmp/ray/ray_current_cluster")  # noqa: S108 - `ray start` writes it, `ray.init` joins it


def check_port(config: ServeConfig) -> None:
    """Raise ConfigError if the address can't be listened on.

    If there is a Ray cluster to join, nothing is checked: its Serve may be what listens there.
    """
    if not (os.environ.get("RAY_ADDRESS") or _RUNNING_CLUSTER.exists()):
        check_free(config)


def check_free(config: ServeConfig) -> None:
    """Raise ConfigError if something listens at the address, or nothing may.

    Serve's proxies share a port with other programs without a word, and each of them gets a part of the
    requests: a service of another cluster would answer for this one.
    """
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            address = f"{config.host}:{config.port}"
            raise ConfigError(f"{address} can't be listened on ({error.strerror}); try --port") from error


def check_published(config: ServeConfig) -> None:
    """Raise TableError if nothing is published, BundleError if the published version's bundle is missing.

    Raises StorageError if there is no bucket for the watches, ConfigError unless the base map is one.
    """
    store = Store(config.store)
    for folder in (config.watches, config.watch_hits):
        if folder is not None:
            store.require_bucket(folder)
    if config.base_map is not None:
        _check_base_map(config.base_map, store)
    published = read_pointer(config.table, store)
    check_model(published, read_manifest(published.bundle_uri, store))


def _check_base_map(uri: str, store: Store) -> None:
    try:
        (begin,) = store.open_ranges(uri, FOR_PICTURES).read([(0, len(_PMTILES))])
    except FileNotFoundError as error:
        raise ConfigError(f"there is no base map at {uri}; see --base-map") from error
    if begin != _PMTILES:
        raise ConfigError(
            f"{uri} isn't a PMTiles archive of version 3, which --base-map takes; "
            "`pmtiles convert` makes one of MBTiles, `pmtiles extract` a part of a larger one"
        )
