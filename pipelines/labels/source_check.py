"""Whether there is a labelled source at all: asked before anything slow is imported or read."""

import posixpath

from pipelines.errors import StorageError
from pipelines.labels.label_manifest import MANIFESTS
from pipelines.storage.store import Store


def check_source(source: str, store: Store) -> None:
    """Raise StorageError if there is no such folder or manifest, or access fails."""
    if posixpath.splitext(source)[1].lower() not in MANIFESTS:
        store.require_folder(source)
    elif store.etag(source) is None:
        raise StorageError(f"manifest {source} doesn't exist; check the name")
