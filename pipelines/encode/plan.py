"""What is there to encode: list the archive, leave out what is done, cut the rest into units."""

from collections.abc import Iterator

import pyarrow as pa

from pipelines.encode.config import EncodeConfig
from pipelines.errors import StorageError
from pipelines.storage import Store


def list_objects(config: EncodeConfig, store: Store) -> pa.Table:
    """Return (uri, etag) of the archive's objects, by uri. Raises StorageError where there are none."""
    endings = tuple(suffix.lower() for suffix in config.suffixes)
    found = [info for info in store.list(config.source) if info.uri.lower().endswith(endings)]
    if not found:
        raise StorageError(f"no imagery below {config.source}: nothing there ends in {', '.join(endings)}")
    columns = {"uri": [info.uri for info in found], "etag": [info.etag for info in found]}
    return pa.table(columns, schema=pa.schema([("uri", pa.string()), ("etag", pa.string())])).sort_by("uri")


def plan_units(objects: pa.Table, done: pa.Table, objects_per_unit: int) -> Iterator[pa.Table]:
    """Yield units: bounded sets of whole objects (uri, etag) that are not done, in the order of their uri."""
    todo = objects.join(done, keys=["uri", "etag"], join_type="left anti").sort_by("uri")
    for start in range(0, len(todo), objects_per_unit):
        yield todo.slice(start, objects_per_unit)
