"""The rows of one unit: its chips become sorted shards, its rejects and failures are split off."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.encode.chips import CHIP, FAILED
from pipelines.encode.completeness import Completeness
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
    """The model and the run that made the rows of a unit."""

    model_id: str
    run_id: str


@dataclass(frozen=True)
class UnitResult:
    """The result of encoding a unit, before its commit."""

    shards: list[Shard]
    rejects: pa.Table
    failed: list[str]
    """URIs of objects that couldn't be read this time."""
    usage: Usage


def write_unit(
    table_uri: str, store: Store, lineage: Lineage, objects: pa.Table, blocks: Iterable[pa.Table]
) -> UnitResult:
    """Write the chips of a unit as shards; return them with its rejects and failures. Commits nothing.

    ``objects`` are the unit's (uri). One whose rows aren't all there, each once, counts as failed: tasks are
    repeated where a node is lost, and may then find something else (`completeness`).

    One block is in memory at a time. So memory grows with the unit only by some 32 bytes for each chip
    (`pipelines.table.sorting`), and by some for each object.
    """
    non_chips = _NonChips(Completeness(objects["uri"].to_pylist()))
    with TemporaryDirectory(prefix="scenehash-unit-") as folder:
        pieces = spatially_sorted(non_chips.chips_of(blocks), _SORTED_SCHEMA, Path(folder))
        # a large scene may turn out to be broken after some of its chips have come
        whole = (piece.filter(pc.invert(pc.is_in(piece["uri"], non_chips.broken()))) for piece in pieces)
        shards = write_shards(
            table_uri, store, lineage.model_id, (_code_rows(piece, lineage) for piece in whole)
        )
    return UnitResult(
        shards=shards,
        rejects=_reject_rows(non_chips.rejects(), lineage),
        failed=non_chips.failed(),
        usage=non_chips.usage,
    )


class _NonChips:
    """Collects the rows of a unit that aren't chips, while its chips pass through."""

    def __init__(self, completeness: Completeness) -> None:
        self.usage = Usage()
        self._completeness = completeness
        self._failed: list[pa.Table] = []
        self._rejects: list[pa.Table] = []

    def chips_of(self, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield the chips of each block; keep its other rows."""
        for rows in blocks:
            is_chip, is_failed = pc.equal(rows["outcome"], CHIP), pc.equal(rows["outcome"], FAILED)
            self.usage += Usage.of(rows)
            self._completeness.see(rows)
            self._failed.append(rows.filter(is_failed).select(_REJECT_COLUMNS).combine_chunks())
            is_reject = pc.invert(pc.or_(is_chip, is_failed))
            self._rejects.append(rows.filter(is_reject).select(_REJECT_COLUMNS).combine_chunks())
            yield rows.filter(is_chip).select(_SORTED_SCHEMA.names)

    def broken(self) -> pa.Array:
        """Return the URIs of all objects that are rejected or failed."""
        rejects = self.rejects()["uri"].to_pylist()
        return pa.array([*self.failed(), *rejects, *self._completeness.unknown], pa.string())

    def failed(self) -> list[str]:
        """Return the URIs of objects that couldn't be read, and of those that aren't whole; each once."""
        unread = [uri for rows in self._failed for uri in rows["uri"].to_pylist()]
        return list(dict.fromkeys([*unread, *self._completeness.not_whole()]))

    def rejects(self) -> pa.Table:
        """Return the rows of rejected objects."""
        rejects = pa.concat_tables(self._rejects) if self._rejects else _NO_REJECTS
        others = pa.array([*self.failed(), *self._completeness.unknown], pa.string())
        return rejects.filter(pc.invert(pc.is_in(rejects["uri"], others)))


def _code_rows(chips: pa.Table, lineage: Lineage) -> pa.Table:
    """Return chips as rows of a shard, with their lineage."""
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
