"""A night's table against the source: each chip of each object once, and nothing else."""

from collections import Counter
from collections.abc import Iterable

from benchmarks.soak.archive import Row
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable


def rows_of(table_uri: str, store: Store, model_id: str, version: int) -> list[Row]:
    """Return the chips of a version of the table."""
    table = CodeTable(table_uri, store).read(model_id, ["uri", "etag", "window"], version)
    return [
        (row["uri"], row["etag"], (window["x"], window["y"], window["w"], window["h"]))
        for row in table.to_pylist()
        for window in [row["window"]]
    ]


def lost_and_doubled(found: Iterable[Row], wanted: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return the chips that the table lacks, and those that it has too often.

    Too often is also a chip that the source doesn't have, or of another version of its object.
    """
    here, there = Counter(found), Counter(wanted)
    return sorted((there - here).elements()), sorted((here - there).elements())
