"""What can refuse a service: checked before anything slow is imported or started."""

import os
import socket
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.registry.bundles import read_manifest
from pipelines.serve.config import ServeConfig
from pipelines.storage.store import Store
from pipelines.table.pointer import check_model, read_pointer

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

    Raises StorageError if there is no bucket for the watches.
    """
    store = Store(config.store)
    for folder in (config.watches, config.watch_hits):
        if folder is not None:
            store.require_bucket(folder)
    published = read_pointer(config.table, store)
    check_model(published, read_manifest(published.bundle_uri, store))
