"""`POST /v1/search/grid`: chips in the cells of a view, and at each distance; from request to answer.

Shapes: A cells with chips, C cells, D distances.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.api.explore import GridRequest
from pipelines.api.geojson import json_number
from pipelines.api.requests import Example as ExampleRequest
from pipelines.api.requests import SearchRequest
from pipelines.hamming.heat import View
from pipelines.hamming.jit import Int64s
from pipelines.hamming.row_filter import EVERY_ROW
from pipelines.index.request_filters import select
from pipelines.serve.fanout import Shards
from pipelines.serve.find import PreparedSearch, prepare
from pipelines.serve.question import Example, Question, SnapshotId, SnapshotSelector
from pipelines.serve.ranking import Ranking
from pipelines.serve.refusals import Refusal, RefusedRequest
from pipelines.serve.search import with_examples
from pipelines.serve.snapshot import Snapshot
from pipelines.serve.why_refused import why_refused


@dataclass(frozen=True)
class Filled:
    """A shard's cells with chips, and its chips at each distance."""

    index_A: Int64s
    counts_A: NDArray[np.uint32]
    least_A: NDArray[np.int32]
    """Least distance in each cell [units]."""
    unit: int
    """Units that one bit has."""
    lowest: int
    """First distance of ``histogram_D`` [bits]; the same for all shards."""
    histogram_D: Int64s


@dataclass(frozen=True)
class GridPart:
    """A shard's part of a grid."""

    examples: tuple[Example, ...]
    """The examples that the shard holds, if codes were missing"""
    filled: Filled | None
    """None if the shard doesn't know the codes of all examples"""


@dataclass(frozen=True)
class GridQuestion:
    """A grid that is asked for, and the codes of its examples."""

    request: GridRequest
    question: Question
    is_heavy: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """What the grid depends on, beside the snapshot."""
        codes = sorted((chip_id, code.hex()) for chip_id, code in self.question.codes.items())
        return f"grid {self.request.model_dump_json(exclude={'snapshot'})} {codes}"

    def answer(self, snapshot: Snapshot, *, is_whole: bool) -> GridPart | Refusal:
        """Return a snapshot's part of the grid."""
        refusal = why_refused(self.question, snapshot)
        if refusal is not None:
            return refusal
        examples, search = prepare(snapshot, self.question, is_whole=is_whole)
        return GridPart(examples, None if search is None else self._filled(snapshot, search))

    def _filled(self, snapshot: Snapshot, search: PreparedSearch) -> Filled:
        index, request, ranking = snapshot.index, self.request, search.ranking
        scale, heat = index.codes.heat(
            search.positives_EY,
            search.negatives_EY,
            index.columns.boxes_N4,
            view_of(request),
            request.max_distance,
            comparison=ranking.comparison,
            bit_weights_K=None if ranking.bit_weights is None else ranking.own_weights,
            weight_of_a_bit=ranking.unit,
            excluded_rows=search.excluded_rows,
            row_filter=select(index, request) if request.has_filters else EVERY_ROW,
        )
        index_A = np.flatnonzero(heat.counts_C)
        return Filled(
            index_A,
            heat.counts_C[index_A],
            heat.least_C[index_A],
            scale.unit,
            heat.lowest,
            heat.histogram_D,
        )


def view_of(request: GridRequest) -> View:
    """Return the view of a request."""
    west, south, east, north = request.view
    across = east - west if west < east else east - west + 360
    return View(west, north, across, north - south, request.width, request.height)


async def grid(shards: Shards, request: GridRequest) -> dict[str, Any]:
    """Return the answer to a grid, without ``took_ms``. Raises RefusedRequest."""
    given = request.model_dump(include=set(ExampleRequest.model_fields), exclude_unset=True)
    question = Question(SearchRequest.model_validate(given))
    selector = SnapshotSelector(version=request.snapshot)
    snapshot_id, parts = await shards.look(GridQuestion(request, question), selector)
    if any(part.filled is None for part in parts):
        resolved = with_examples(question, [example for part in parts for example in part.examples])
        if isinstance(resolved, Refusal):
            raise RefusedRequest(resolved)
        selector = replace(selector, number=snapshot_id.number)
        snapshot_id, parts = await shards.look(GridQuestion(request, resolved), selector)
    elif not question.is_resolved:  # one shard: it has all the examples
        question = question.with_examples([example for part in parts for example in part.examples])
    chance = await shards.chances.distance(question, snapshot_id)
    filled = [part.filled for part in parts if part.filled is not None]
    return _answer(request, question, snapshot_id, filled, chance)


def _answer(
    request: GridRequest,
    question: Question,
    snapshot_id: SnapshotId,
    parts: Sequence[Filled],
    chance_distance: float | None,
) -> dict[str, Any]:
    counts_C = np.zeros(request.width * request.height, np.int64)
    least_C = np.full(counts_C.size, np.iinfo(np.int64).max)
    for part in parts:
        counts_C[part.index_A] += part.counts_A
        least_C[part.index_A] = np.minimum(least_C[part.index_A], part.least_A)
    index_A = np.flatnonzero(counts_C)
    histogram_D = np.sum([part.histogram_D for part in parts], axis=0)
    ranking = Ranking.of(question.request, snapshot_id.code)
    return {
        "snapshot": snapshot_id.version,
        "model_id": snapshot_id.model_id,
        "compare": request.compare,
        "parts": ranking.compared_parts(),
        "rank_by": "bits" if ranking.bit_weights is None else "values",
        "chance_distance": None if chance_distance is None else json_number(chance_distance),
        "view": request.view,
        "width": request.width,
        "height": request.height,
        "max_distance": request.max_distance,
        "cells": {
            "index": index_A.tolist(),
            "count": counts_C[index_A].tolist(),
            "distance": [json_number(value) for value in (least_C[index_A] / parts[0].unit).tolist()],
        },
        "in_view": int(counts_C.sum()),
        "matched": int(histogram_D.sum()),
        "histogram": histogram(parts[0].lowest, histogram_D),
    }


def histogram(lowest: int, counts_D: Int64s) -> dict[str, Any]:
    """Return a `Histogram`: without zeros at its ends."""
    filled = np.flatnonzero(counts_D)
    if not filled.size:
        return {"first": 0, "counts": []}
    first, last = int(filled[0]), int(filled[-1])
    return {"first": lowest + first, "counts": counts_D[first : last + 1].tolist()}
