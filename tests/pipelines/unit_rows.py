"""Rows as a night's tasks make them, for tests that write units themselves."""

from collections import Counter

import pyarrow as pa

from pipelines.encode.parcels import ENCODED_SCHEMA


def as_unit(rows: list[dict]) -> tuple[pa.Table, pa.Table]:
    """Return the objects of some rows, and the rows as one block, in which each object is whole."""
    counts: Counter[str] = Counter(row["uri"] for row in rows)
    seen: Counter[str] = Counter()
    numbered = []
    for row in rows:
        position = seen[row["uri"]]
        seen[row["uri"]] += 1
        numbered.append(row | {"position": position, "is_last": position == counts[row["uri"]] - 1})
    return pa.table({"uri": list(counts)}), pa.Table.from_pylist(numbered, ENCODED_SCHEMA)
