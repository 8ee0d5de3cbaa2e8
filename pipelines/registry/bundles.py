"""Bundles at URIs: write, read, and resolve names of the MLflow registry."""

from typing import TYPE_CHECKING

from model.bundle import MANIFEST, WEIGHTS, Manifest, unpack_bundle
from pipelines.config import TrackingConfig
from pipelines.errors import BundleError
from pipelines.registry.tracking import resolve_model
from pipelines.storage.store import Store

if TYPE_CHECKING:
    from model.network import HashNetwork  # takes seconds to import


def write_bundle(uri: str, files: dict[str, bytes], store: Store) -> None:
    """Write a bundle's files in their order, the manifest last: without it there is no bundle."""
    for name, content in files.items():
        store.write(f"{uri}/{name}", content)


def read_manifest(uri: str, store: Store) -> Manifest:
    """Return a bundle's manifest. Raises BundleError if there is none, or none that can be read."""
    try:
        return Manifest.from_bytes(store.read(f"{uri}/{MANIFEST}"))
    except FileNotFoundError as error:
        raise BundleError(f"no bundle at {uri}: it has no {MANIFEST}") from error
    except ValueError as error:
        raise BundleError(f"bundle {uri}: {error}") from error


def read_bundle(uri: str, store: Store) -> "tuple[Manifest, HashNetwork]":
    """Return a bundle's manifest and its network, in eval mode on the CPU.

    ``uri`` is that of the bundle's folder (see `resolve_bundle`). Raises BundleError if files are missing or
    altered.
    """
    files: dict[str, bytes] = {}
    try:
        for name in (MANIFEST, WEIGHTS):
            files[name] = store.read(f"{uri}/{name}")
    except FileNotFoundError as error:
        raise BundleError(f"no bundle at {uri}: {error} doesn't exist") from error
    try:
        return unpack_bundle(files)
    except ValueError as error:
        raise BundleError(f"bundle {uri}: {error}") from error


def resolve_bundle(uri: str, tracking: TrackingConfig) -> str:
    """Return the URI of the bundle's folder; ``models:/name@alias`` is looked up in the registry.

    Raises the errors of `resolve_model`.
    """
    return (resolve_model(uri, tracking) if uri.startswith("models:/") else uri).rstrip("/")
