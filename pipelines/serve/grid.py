"""`POST /v1/search/grid`: chips in the cells of a view, and at each distance; from request to answer.

Shapes: A cells with chips, C cells, D distances.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipelines.api.explore import GridRequest
from pipelines.api.geojson import json_number
from pipelines.api.requests import Example as ExampleRequest
from pipelines.api.requests import SearchRequest
from pipelines.hamming.jit import Int64s
from pipelines.serve.fanout import Shards
from pipelines.serve.grid_part import Filled, GridQuestion
from pipelines.serve.question import Question, SnapshotId, SnapshotSelector
from pipelines.serve.ranking import Ranking
from pipelines.serve.refusals import Refusal, RefusedRequest
from pipelines.serve.search import with_examples


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
