"""`GET /v1/coverage` and `GET /v1/collections`: what the index has counted when it was built.

Shapes: A cells with chips, S shards.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import numpy as np

from pipelines.api.explore import CoverageParameters
from pipelines.index.coverage import Cells, cells_in, level_for
from pipelines.index.extents import Extents, box_of
from pipelines.serve.question import SnapshotId
from pipelines.serve.snapshot import Snapshot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class CoverageLookup:
    """Where chips lie."""

    parameters: CoverageParameters
    is_heavy: ClassVar[bool] = False
    key: ClassVar[str] = ""

    @property
    def level(self) -> int:
        """The level of the cells."""
        return level_for(self.parameters.bbox, self.parameters.width, self.parameters.height)

    def answer(self, snapshot: Snapshot, *, is_whole: bool) -> "CoveragePart":  # noqa: ARG002
        """Return a snapshot's cells."""
        index = snapshot.index
        cells = cells_in(index.coverage, self.parameters.bbox, self.level)
        return CoveragePart(cells, len(index.codes), int(index.extents.unplaced_C.sum()))


@dataclass(frozen=True)
class CoveragePart:
    """A shard's cells."""

    cells: Cells
    chips: int
    without_place: int


def coverage_answer(
    lookup: CoverageLookup, snapshot_id: SnapshotId, parts: Sequence[CoveragePart]
) -> dict[str, Any]:
    """Return a `CoverageAnswer`."""
    x_A, y_A, counts_A = (np.concatenate(each) for each in zip(*(part.cells for part in parts), strict=True))
    keys_A, places_A = np.unique((y_A << 32) + x_A, return_inverse=True)
    counts = np.bincount(places_A, counts_A, len(keys_A)).astype(np.int64)
    return {
        "snapshot": snapshot_id.version,
        "chips": sum(part.chips for part in parts),
        "without_place": sum(part.without_place for part in parts),
        "cell_degrees": 360 / 2**lookup.level,
        "cells": {
            "x": (keys_A & 0xFFFFFFFF).tolist(),
            "y": (keys_A >> 32).tolist(),
            "count": counts.tolist(),
        },
    }


@dataclass(frozen=True)
class CollectionsLookup:
    """What each collection spans."""

    is_heavy: ClassVar[bool] = False
    key: ClassVar[str] = ""

    def answer(
        self,
        snapshot: Snapshot,
        *,
        is_whole: bool,  # noqa: ARG002
    ) -> tuple[tuple[str, ...], Extents]:
        """Return the names and extents of a snapshot's collections."""
        return snapshot.index.collections, snapshot.index.extents


@dataclass
class _Collection:
    """What all shards together know of a collection."""

    chips: int = 0
    unplaced: int = 0
    undated: int = 0
    boxes: tuple[float, ...] = (np.inf, -np.inf) * 3
    first: int = np.iinfo(np.int64).max
    last: int = -np.iinfo(np.int64).max


def collections_answer(
    snapshot_id: SnapshotId, parts: Sequence[tuple[tuple[str, ...], Extents]]
) -> dict[str, Any]:
    """Return a `CollectionsAnswer`."""
    found: dict[str, _Collection] = defaultdict(_Collection)
    months: dict[str, Counter[int]] = defaultdict(Counter)
    for names, extents in parts:
        for number, name in enumerate(names):
            _add(found[name], extents, number)
        for number, month, chips in extents.months_M3.tolist():
            months[names[number]][month] += chips
    return {
        "snapshot": snapshot_id.version,
        "model_id": snapshot_id.model_id,
        "chips": sum(collection.chips for collection in found.values()),
        "collections": [_as_json(name, found[name], months[name]) for name in sorted(found)],
    }


def _add(collection: _Collection, extents: Extents, number: int) -> None:
    collection.chips += int(extents.chips_C[number])
    collection.unplaced += int(extents.unplaced_C[number])
    collection.undated += int(extents.undated_C[number])
    ends = zip(collection.boxes, extents.boxes_C6[number].tolist(), strict=True)
    collection.boxes = tuple(max(each) if side % 2 else min(each) for side, each in enumerate(ends))
    first, last = extents.times_C2[number].tolist()
    collection.first, collection.last = min(collection.first, first), max(collection.last, last)


def _as_json(name: str, collection: _Collection, months: Counter[int]) -> dict[str, Any]:
    box = box_of(np.array(collection.boxes))
    interval = [_time(collection.first), _time(collection.last)] if months else None
    return {
        "id": name,
        "chips": collection.chips,
        "without_place": collection.unplaced,
        "extent": {
            "spatial": None if box is None else {"bbox": [box]},
            "temporal": None if interval is None else {"interval": [interval]},
        },
        "months": {f"{1970 + month // 12:04}-{month % 12 + 1:02}": months[month] for month in sorted(months)},
        "undated": collection.undated,
    }


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
