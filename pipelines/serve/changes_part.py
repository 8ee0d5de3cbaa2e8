"""A shard's part of `POST /v1/changes`: its own pairs of chips of one place, and the chips at its edges.

Shapes: M rows that may be in a pair, K pairs of the answer, D distances, A cells, W words a code, P parts.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.spec import CodeSpec
from pipelines.api.explore import ChangesRequest
from pipelines.api.fields import Fields
from pipelines.hamming.bit_order import words_of
from pipelines.hamming.jit import Int64s, UInt32s, Words
from pipelines.hamming.pairs import PairScale, Places, cells_at, find_pairs
from pipelines.hamming.row_filter import rows_of
from pipelines.index.filters import criteria
from pipelines.index.part_weights import comparison_of
from pipelines.index.request_filters import select
from pipelines.index.table_index import TableIndex
from pipelines.serve.edges import EMPTY_EDGE, Edge, edge_of, places_among
from pipelines.serve.page import Chips
from pipelines.serve.refusals import Refusal
from pipelines.serve.snapshot import Snapshot
from pipelines.serve.why_refused import why_not_comparable

_ALL_OWNERS = np.empty(0, np.uint32)


@dataclass(frozen=True)
class ChangesPart:
    """A shard's pairs, and where it ends."""

    pairs: Chips
    """The first k pairs in order"""
    counts_D: Int64s
    """All pairs at each distance"""
    edge: Edge


@dataclass(frozen=True)
class ChangesLookup:
    """Pairs of chips of one place within each shard."""

    request: ChangesRequest
    is_heavy: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """What the pairs depend on, beside the snapshot."""
        return f"changes {self.request.model_dump_json(exclude={'snapshot'})}"

    def answer(self, snapshot: Snapshot, *, is_whole: bool) -> ChangesPart | Refusal:
        """Return a snapshot's pairs; with several shards the cells of its chips too."""
        request, index = self.request, snapshot.index
        refusal = why_not_comparable(request, snapshot)
        if refusal is not None:
            return refusal
        rows_M = selected(index, request)
        found, distances = pairs_among(places_of(index), rows_M, request, snapshot.code)
        before_K, after_K = found
        names = columns_of_pairs(request)
        chips = pair_columns(
            index.rows.columns(before_K, ["chip_id", "datetime"]), index.rows.columns(after_K, names)
        )
        chips |= distances.columns(snapshot)
        edge = EMPTY_EDGE if is_whole else edge_of(index.columns.boxes_N4[rows_M])
        return ChangesPart(chips, distances.counts_D, edge)


@dataclass(frozen=True)
class PairDistances:
    """How different the pairs of an answer are."""

    distances_K: Int64s
    part_distances_KP: Int64s
    counts_D: Int64s

    def columns(self, snapshot: Snapshot) -> Chips:
        """Return the columns of distances."""
        return self.named(tuple(part.name for part in snapshot.code.parts))

    def named(self, parts: tuple[str, ...]) -> Chips:
        """Return the columns of distances of codes that have these parts."""
        columns: Chips = {"distance": self.distances_K.tolist()}
        if len(parts) > 1:
            columns |= {
                f"{name}_distance": self.part_distances_KP[:, number].tolist()
                for number, name in enumerate(parts)
            }
        return columns


@dataclass(frozen=True)
class EdgeChips:
    """The chips of a shard that may be in a pair with a chip of another one."""

    ids: pa.Array
    codes_MY: NDArray[np.uint8]
    boxes_M4: NDArray[np.float64]
    times_M: Int64s
    collections_M: UInt32s
    collections: tuple[str, ...]
    """Their names, by number; other shards may have other numbers."""


@dataclass(frozen=True)
class EdgeLookup:
    """The chips at the edges of the shards: what decides on pairs, no more.

    Where shards have the same places at other dates, that is all chips: they travel as arrays.
    """

    request: ChangesRequest
    level: int
    cells_A: Int64s
    """Cells that lie at an edge, ascending"""
    is_heavy: ClassVar[bool] = True
    key: ClassVar[str] = ""

    def answer(self, snapshot: Snapshot, *, is_whole: bool) -> EdgeChips:  # noqa: ARG002
        """Return a snapshot's chips in these cells."""
        index = snapshot.index
        rows_M = selected(index, self.request)
        rows_M = rows_M[~np.isnan(index.columns.boxes_N4[rows_M, 0])]
        cells_M = cells_at(index.columns.boxes_N4[rows_M], self.level)
        _, are_there_M = places_among(cells_M, self.cells_A)
        rows_M = rows_M[are_there_M]
        return EdgeChips(
            index.rows.ids(rows_M),
            index.codes.codes(rows_M),
            index.columns.boxes_N4[rows_M],
            index.columns.times_N[rows_M],
            index.columns.collections_N[rows_M],
            index.collections,
        )


@dataclass(frozen=True)
class ChipsLookup:
    """Columns of some chips."""

    chip_ids: tuple[str, ...]
    names: tuple[str, ...]
    is_heavy: ClassVar[bool] = False
    key: ClassVar[str] = ""

    def answer(self, snapshot: Snapshot, *, is_whole: bool) -> Chips:  # noqa: ARG002
        """Return those chips that a snapshot has."""
        rows = snapshot.index.rows
        found = [row for row in map(rows.find, self.chip_ids) if row is not None]
        return rows.columns(np.array(found, np.int64), self.names)


def places_of(index: TableIndex) -> Places:
    """Return all rows of an index."""
    columns, codes = index.columns, index.codes.arrays
    return Places(
        codes.codes_WN,
        columns.boxes_N4,
        columns.times_N,
        columns.collections_N,
        codes.ranks_N,
        _ALL_OWNERS,
    )


def selected(index: TableIndex, request: ChangesRequest) -> Int64s:
    """Return the rows that pass the filters."""
    if not request.has_filters:
        return np.arange(len(index.codes))
    return rows_of(select(index, request))


def pairs_among(
    places: Places, rows_M: Int64s, request: ChangesRequest, code: CodeSpec
) -> tuple[tuple[Int64s, Int64s], PairDistances]:
    """Return the earlier and the later rows of the first k pairs among some rows, and their distances."""
    comparison = comparison_of(code, request.compare, request.kind_weight)
    part_bits = [part.bits for part in code.parts]
    limits = [criteria(interval=interval) for interval in request.intervals]
    before, after = ((each.first, each.last) for each in limits)
    words_P = [words_of([bits]) for bits in part_bits]
    weights_W = np.repeat(np.array(comparison.weights, np.int64), words_P)
    scale = PairScale(weights_W, comparison.greatest_distance(part_bits))
    found = find_pairs(places, rows_M, (before, after), scale, request.k, request.min_distance)
    different_WK: Words = places.codes_WN[:, found.before_K] ^ places.codes_WN[:, found.after_K]
    bits_WK = np.bitwise_count(different_WK).astype(np.int64)
    ends = pairwise(np.cumsum([0, *words_P]).tolist())
    part_distances_KP = np.stack([bits_WK[first:last].sum(axis=0) for first, last in ends], axis=1)
    distances = PairDistances(found.distances_K, part_distances_KP, found.counts_D)
    return (found.before_K, found.after_K), distances


def pair_columns(before: Chips, after: Chips) -> Chips:
    """Return the columns of pairs, given those of their chips."""
    ids = zip(before["chip_id"], after["chip_id"], strict=True)
    columns: Chips = {
        "chip_id": [f"{earlier}/{later}" for earlier, later in ids],
        "before": before["chip_id"],
        "after": after["chip_id"],
        "before_datetime": before["datetime"],
        "after_datetime": after["datetime"],
        "collection": after["collection"],
    }
    return columns | {name: after[name] for name in ("bbox", "geometry") if name in after}


def columns_of_pairs(request: ChangesRequest) -> list[str]:
    """Return which columns of the table the answer needs of the later chip."""
    wants_geometry = (request.fields or Fields()).wants("geometry")
    if request.format == "columns":
        wants_geometry = request.fields is not None and "geometry" in (request.fields.include or ())
    return ["chip_id", "datetime", "collection", "bbox", *(["geometry"] if wants_geometry else [])]
