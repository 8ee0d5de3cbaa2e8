"""A published version of a code table, or the rows of one shard: its index, and the model of its codes."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from model.bundle import Manifest
from model.spec import CodeSpec
from pipelines.errors import TableError
from pipelines.index.files import remove_others
from pipelines.index.table_index import IndexedRows, TableIndex, open_index
from pipelines.registry.bundles import read_manifest
from pipelines.serve.config import ServeConfig
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import Published, check_model
from pipelines.table.row_ranges import RowRange


@dataclass(frozen=True)
class Snapshot:
    """One version of the table. It never changes: each request is answered from one snapshot."""

    published: Published
    manifest: Manifest
    index: TableIndex

    @cached_property
    def code(self) -> CodeSpec:
        """The parts of the codes."""
        return self.manifest.network.code

    def is_of(self, published: Published) -> bool:
        """Return whether this is the published version: a rollback publishes an earlier version again."""
        own = self.published
        return (own.table_id, own.table_version, own.model_id, own.bundle_uri) == (
            published.table_id,
            published.table_version,
            published.model_id,
            published.bundle_uri,
        )


def load_snapshot(
    config: ServeConfig, published: Published, row_range: RowRange, kept: Sequence[Snapshot] = ()
) -> Snapshot:
    """Load a published version, or take it from ``kept``.

    The index is opened from a folder of its own; if there is none yet, it is built. Raises TableError if
    table, bundle and pointer don't fit each other, BundleError if there is no bundle.
    """
    same = next((snapshot for snapshot in kept if snapshot.is_of(published)), None)
    if same is not None:
        return replace(same, published=published)
    store = Store(config.store)
    manifest = read_manifest(published.bundle_uri, store)
    check_model(published, manifest)
    table = CodeTable(config.table, store)
    table_id = table.id(published.table_version)
    if not published.is_of_table(table_id):
        raise TableError(
            f"what is published at {table.uri} belongs to an earlier table at this URI; publish again"
        )
    prefix = hashlib.sha256(f"{table.uri} {table_id}".encode()).hexdigest()[:16]
    model = published.model_id.replace("/", "_")
    suffix = f"{row_range.number}of{row_range.parts}"
    folder = config.index_folder / f"{prefix}-{model}-{published.table_version}-{suffix}"
    part_bits = tuple(part.bits for part in manifest.network.code.parts)
    rows = IndexedRows(table, published.model_id, published.table_version, part_bits, row_range)
    index = open_index(folder, rows, config.search_threads)
    with suppress(FileNotFoundError):  # another replica removed it: the mapped files stay readable
        folder.touch()
    # folders of other divisions too: with another number of shards, the old ones aren't needed any more
    built = sorted(config.index_folder.glob(f"{prefix}-*"), key=_last_used)
    newest = built[-config.kept_snapshots * row_range.parts :]
    remove_others(config.index_folder, f"{prefix}-", [folder.name for folder in newest])
    return Snapshot(published, manifest, index)


def _last_used(folder: Path) -> float:
    """Return when a folder was last used [s since 1970]; 0 if another replica has just removed it."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0
