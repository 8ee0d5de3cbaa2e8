"""Codes of one unit to shards, sorted along a space-filling curve; its rejects and failures set apart."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.encode.chips import CHIP, FAILED
from pipelines.encode.usage import Usage
from pipelines.storage.store import Store
from pipelines.table.code_table import Shard
from pipelines.table.schema import FILE_SCHEMA, REJECT_SCHEMA
from pipelines.table.shard_files import write_shards
from pipelines.table.sorting import spatially_sorted

_SORTED_SCHEMA = pa.schema([field for field in FILE_SCHEMA if field.name not in ("run_id", "encoded_at")])
_REJECT_COLUMNS = ["uri", "etag", "outcome", "detail", "cut"]
_NO_REJECTS = pa.table({name: pa.array([], pa.string()) for name in _REJECT_COLUMNS})


@dataclass(frozen=True)
class Lineage:
    """Who made the rows of a unit."""

    model_id: str
    run_id: str


@dataclass(frozen=True)
class UnitResult:
    """What became of a unit's objects."""

    shards: list[Shard]
    rejects: pa.Table
    failed: list[str]
    """URIs that couldn't be read this time."""
    usage: Usage


def write_unit(
    table_uri: str, store: Store, lineage: Lineage, *blocks: pa.Table | Callable[[], pa.Table]
) -> UnitResult:
    """Write the chips of a unit as shards that no commit names yet; set rejects and failures apart.

    A block is a table, or a function that fetches it, called when its turn comes: so the memory that this
    takes doesn't grow with the unit, but for some 32 bytes a chip (`pipelines.table.sorting`). Rejects and
    failures are held as a whole: at most one for each object.
    """
    others = _Others()
    with TemporaryDirectory(prefix="scenehash-unit-") as folder:
        pieces = spatially_sorted(others.chips_of(blocks), _SORTED_SCHEMA, Path(folder))
        # a large scene may break off after some of its chips have come
        whole = (piece.filter(pc.invert(pc.is_in(piece["uri"], others.broken()))) for piece in pieces)
        shards = write_shards(
            table_uri, store, lineage.model_id, (_code_rows(piece, lineage) for piece in whole)
        )
    return UnitResult(
        shards=shards,
        rejects=_reject_rows(others.rejects(), lineage),
        failed=[uri for rows in others.failed for uri in rows["uri"].to_pylist()],
        usage=others.usage,
    )


class _Others:
    """What of a unit's rows is no chip, gathered while the chips go by."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.failed: list[pa.Table] = []
        self._rejects: list[pa.Table] = []

    def chips_of(self, blocks: Iterable[pa.Table | Callable[[], pa.Table]]) -> Iterator[pa.Table]:
        """Yield the chips of each block, and keep the other rows."""
        for block in blocks:
            rows = block if isinstance(block, pa.Table) else block()
            is_chip, is_failed = pc.equal(rows["outcome"], CHIP), pc.equal(rows["outcome"], FAILED)
            self.usage += Usage.of(rows)
            self.failed.append(rows.filter(is_failed).select(_REJECT_COLUMNS).combine_chunks())
            is_reject = pc.invert(pc.or_(is_chip, is_failed))
            self._rejects.append(rows.filter(is_reject).select(_REJECT_COLUMNS).combine_chunks())
            yield rows.filter(is_chip).select(_SORTED_SCHEMA.names)

    def broken(self) -> pa.Array:
        """Return the objects (uri) that gave no chips in the end."""
        uris = [chunk for rows in (*self.failed, *self._rejects) for chunk in rows["uri"].chunks]
        return pa.concat_arrays([pa.array([], pa.string()), *uris])

    def rejects(self) -> pa.Table:
        """Return the rows of rejected objects."""
        return pa.concat_tables(self._rejects) if self._rejects else _NO_REJECTS


def _code_rows(chips: pa.Table, lineage: Lineage) -> pa.Table:
    """Return chips with their lineage, as a shard's rows."""
    constant = {"run_id": lineage.run_id, "encoded_at": datetime.now(UTC)}
    columns = [
        pa.repeat(pa.scalar(constant[field.name], field.type), len(chips))
        if field.name in constant
        else chips[field.name]
        for field in FILE_SCHEMA
    ]
    return pa.table(columns, schema=FILE_SCHEMA)


def _reject_rows(rejects: pa.Table, lineage: Lineage) -> pa.Table:
    columns = {name: rejects[name] for name in ("uri", "etag", "detail", "cut")} | {
        "reason": rejects["outcome"]
    }
    constant = {"model_id": lineage.model_id, "run_id": lineage.run_id, "at": datetime.now(UTC)}
    for name, value in constant.items():
        columns[name] = pa.array([value] * len(rejects), REJECT_SCHEMA.field(name).type)
    return pa.table([columns[name] for name in REJECT_SCHEMA.names], schema=REJECT_SCHEMA)
