"""`POST /v1/changes` from request to answer: the pairs of each shard, and those of chips of two shards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.api.explore import ChangesRequest
from pipelines.hamming.bit_order import lookup_table, reorder, words_of
from pipelines.hamming.jit import Int64s, UInt32s
from pipelines.hamming.pairs import Places
from pipelines.index.part_weights import comparison_of
from pipelines.serve.changes_part import (
    ChangesLookup,
    ChipsLookup,
    EdgeChips,
    EdgeLookup,
    columns_of_pairs,
    pair_columns,
    pairs_among,
)
from pipelines.serve.edges import meeting_cells
from pipelines.serve.fanout import Shards
from pipelines.serve.grid import histogram
from pipelines.serve.page import EVERYTHING, Chips, Page, merged
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import SnapshotId, SnapshotSelector

_JOINING = WorkPool("changes", 1)
USUAL_OF_PAIRS = (
    "before",
    "after",
    "distance",
    "before_datetime",
    "after_datetime",
    "lon",
    "lat",
    "bbox",
    "collection",
)


async def changes(shards: Shards, request: ChangesRequest) -> Page:
    """Return the answer, without ``took_ms``. Raises RefusedRequest."""
    selector = SnapshotSelector(version=request.snapshot)
    snapshot_id, parts = await shards.look(ChangesLookup(request), selector)
    found = [(part.pairs, part.counts_D) for part in parts]
    if len(parts) > 1:
        level, cells_A = await _JOINING.run(meeting_cells, [part.edge for part in parts])
        selector = replace(selector, number=snapshot_id.number)
        _, edges = await shards.look(EdgeLookup(request, level, cells_A), selector)
        across = await _JOINING.run(_across, request, snapshot_id, edges)
        names = tuple(columns_of_pairs(request))
        _, columns = await shards.look(ChipsLookup((*across.before, *across.after), names), selector)
        found.append((await _JOINING.run(_with_columns, across, columns), across.counts_D))
    return await _JOINING.run(_page, request, snapshot_id, found)


@dataclass(frozen=True)
class _Across:
    """The first k pairs of chips of two shards, in order."""

    before: list[str]
    after: list[str]
    distances: Chips
    counts_D: Int64s
    """All pairs at each distance."""


def _across(request: ChangesRequest, snapshot_id: SnapshotId, edges: Sequence[EdgeChips]) -> _Across:
    """Return the pairs of chips of two shards."""
    part_bits = tuple(part.bits for part in snapshot_id.code.parts)
    ids = pa.concat_arrays([edge.ids for edge in edges])
    codes_NY = np.concatenate([edge.codes_MY for edge in edges])
    codes_WN = np.empty((words_of(part_bits), len(codes_NY)), np.uint64)
    reorder(codes_NY, lookup_table(np.arange(sum(part_bits)), part_bits), codes_WN)
    ranks_N = np.empty(len(codes_NY), np.uint32)
    ranks_N[pc.sort_indices(ids)] = np.arange(len(codes_NY))
    places = Places(
        codes_WN,
        np.concatenate([edge.boxes_M4 for edge in edges]),
        np.concatenate([edge.times_M for edge in edges]),
        _collections(edges),
        ranks_N,
        np.repeat(np.arange(len(edges)), [len(edge.times_M) for edge in edges]).astype(np.uint32),
    )
    rows_M = np.arange(len(codes_NY))
    (before_K, after_K), distances = pairs_among(places, rows_M, request, snapshot_id.code)
    return _Across(
        ids.take(pa.array(before_K)).to_pylist(),
        ids.take(pa.array(after_K)).to_pylist(),
        distances.named(tuple(part.name for part in snapshot_id.code.parts)),
        distances.counts_D,
    )


def _collections(edges: Sequence[EdgeChips]) -> UInt32s:
    """Return the collection of each chip: equal numbers for equal names."""
    names = sorted({name for edge in edges for name in edge.collections})
    numbers = [np.array([names.index(name) for name in edge.collections], np.uint32) for edge in edges]
    return np.concatenate([own[edge.collections_M] for own, edge in zip(numbers, edges, strict=True)])


def _with_columns(across: _Across, columns: Sequence[Chips]) -> Chips:
    """Return the columns of pairs; ``columns``: those of their chips, from each shard."""
    chips = {name: [value for part in columns for value in part[name]] for name in columns[0]}
    places = {chip_id: place for place, chip_id in enumerate(chips["chip_id"])}
    sides = ([places[chip_id] for chip_id in some] for some in (across.before, across.after))
    before, after = (
        {name: [values[place] for place in side] for name, values in chips.items()} for side in sides
    )
    return pair_columns(before, after) | across.distances


def _page(
    request: ChangesRequest, snapshot_id: SnapshotId, found: Sequence[tuple[Chips, np.ndarray]]
) -> Page:
    comparison = comparison_of(snapshot_id.code, request.compare, request.kind_weight)
    counts_D = np.sum([counts_D for _, counts_D in found], axis=0)
    chips = merged([pairs for pairs, _ in found], [_most_different, "before", "after"], request.k)
    chips["rank"] = list(range(1, len(chips["before"]) + 1))
    parts = zip(snapshot_id.code.parts, comparison.weights, strict=True)
    about: dict[str, Any] = {
        "numberMatched": int(counts_D[request.min_distance :].sum()),
        "numberReturned": len(chips["before"]),
        "histogram": histogram(0, counts_D),
        "snapshot": snapshot_id.version,
        "model_id": snapshot_id.model_id,
        "compare": request.compare,
        "parts": [{"name": part.name, "bits": part.bits, "weight": weight} for part, weight in parts],
        "links": [],
    }
    return Page(chips, about, request.format == "columns", request.fields or EVERYTHING, usual=USUAL_OF_PAIRS)


def _most_different(chips: Chips) -> list[int]:
    return [-distance for distance in chips["distance"]]
