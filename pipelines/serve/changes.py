"""`POST /v1/changes` from request to answer: the pairs of each shard, and those of chips of two shards."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipelines.api.explore import ChangesRequest
from pipelines.hamming.bit_order import lookup_table, reorder, words_of
from pipelines.hamming.pairs import Places
from pipelines.index.part_weights import comparison_of
from pipelines.serve.changes_part import (
    ChangesLookup,
    EdgeChips,
    EdgeLookup,
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
        found.append(await _JOINING.run(_across, request, snapshot_id, edges))
    return await _JOINING.run(_page, request, snapshot_id, found)


def _across(
    request: ChangesRequest, snapshot_id: SnapshotId, edges: Sequence[EdgeChips]
) -> tuple[Chips, np.ndarray]:
    """Return the pairs of chips of two shards, and how many there are at each distance."""
    part_bits = tuple(part.bits for part in snapshot_id.code.parts)
    chips = {name: [value for edge in edges for value in edge.chips[name]] for name in edges[0].chips}
    codes_NY = np.frombuffer(b"".join(edge.codes for edge in edges), np.uint8).reshape(
        -1, sum(part_bits) // 8
    )
    codes_WN = np.empty((words_of(part_bits), len(codes_NY)), np.uint64)
    reorder(codes_NY.copy(), lookup_table(np.arange(sum(part_bits)), part_bits), codes_WN)
    _, collections_N = np.unique(np.array(chips["collection"], np.str_), return_inverse=True)
    ranks_N = np.empty(len(codes_NY), np.uint32)
    ranks_N[np.argsort(np.array(chips["chip_id"], np.str_))] = np.arange(len(codes_NY))
    places = Places(
        codes_WN,
        np.concatenate([edge.boxes_M4 for edge in edges]),
        np.concatenate([edge.times_M for edge in edges]),
        collections_N.astype(np.uint32),
        ranks_N,
        np.repeat(np.arange(len(edges)), [len(edge.times_M) for edge in edges]).astype(np.uint32),
    )
    rows_M = np.arange(len(codes_NY))
    (before_K, after_K), distances = pairs_among(places, rows_M, request, snapshot_id.code)
    pairs = pair_columns(_taken(chips, before_K), _taken(chips, after_K))
    names = tuple(part.name for part in snapshot_id.code.parts)
    return pairs | distances.named(names), distances.counts_D


def _taken(chips: Chips, rows_K: np.ndarray) -> Chips:
    return {name: [values[row] for row in rows_K.tolist()] for name, values in chips.items()}


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
