"""Compiles the search's kernels ahead of a machine's first service.

`make setup` runs it as `python -m pipelines.serve.compile_kernels`. Machine code lies beside the sources, or
in the user's cache where these can't be written.
"""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from model.bundle import Manifest
from model.spec import InputSpec, NetworkSpec
from pipelines.config import StoreConfig
from pipelines.index.table_index import IndexedRows, open_index
from pipelines.serve.snapshot import Snapshot
from pipelines.serve.warm_up import warm_up
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import Published
from pipelines.table.schema import FILE_SCHEMA
from pipelines.table.shard_files import write_shard

_NOW = datetime.now(UTC)
_BOX = {"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}
_ROW = {
    "chip_id": "chip",
    "uri": "scene.tif",
    "etag": "1",
    "window": {"x": 0, "y": 0, "w": 1, "h": 1},
    "bbox": _BOX,
    "datetime": _NOW,
    "collection": "",
    "valid_fraction": 1.0,
    "cut": "",
    "run_id": "",
    "encoded_at": _NOW,
}


def compile_kernels() -> None:
    """Ask a table of one chip each kind of question: once with codes of one part, once with codes of two."""
    with TemporaryDirectory() as folder:
        for look_bits in (0, 64):
            network = NetworkSpec("resnet18", "layer1", kind_bits=64, look_bits=look_bits)
            warm_up(_snapshot(Path(folder, str(look_bits)), network))


def _snapshot(folder: Path, network: NetworkSpec) -> Snapshot:
    """Return the snapshot of a table of one chip, made in a folder."""
    manifest = Manifest("none", network, InputSpec(), (), {}, "")
    table = CodeTable(f"{folder}/table", Store(StoreConfig()))
    table.create()
    rows = pa.Table.from_pylist([_ROW | {"code": bytes(network.code.bits // 8)}], FILE_SCHEMA)
    shard = write_shard(table.uri, table.store, manifest.model_id, rows)
    version = table.commit_unit([shard], manifest.model_id, 1, {})
    part_bits = tuple(part.bits for part in network.code.parts)
    index = open_index(folder / "index", IndexedRows(table, manifest.model_id, version, part_bits))
    published = Published(
        table_version=version,
        model_id=manifest.model_id,
        bundle_uri="",
        run_id="",
        published_at=_NOW,
        gate={},
    )
    return Snapshot(published, manifest, index)


if __name__ == "__main__":
    compile_kernels()
