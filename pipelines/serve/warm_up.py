"""Compiles what a snapshot is asked, before it is served: a kernel new on this machine takes seconds.

Kernels are compiled for the types of a snapshot's own arrays, so each kind of question is asked of it once.
"""

from typing import Any

import numpy as np

from pipelines.api.explore import ChangesRequest, GridRequest
from pipelines.api.requests import SearchRequest
from pipelines.hamming.parted import FEWEST_TOGETHER
from pipelines.hamming.row_filter import NO_TIME
from pipelines.serve.changes_part import pairs_among, places_of
from pipelines.serve.find import answer
from pipelines.serve.grid_part import GridQuestion
from pipelines.serve.question import Question
from pipelines.serve.snapshot import Snapshot

_FILTERS: tuple[dict[str, Any], ...] = ({}, {"bbox": (-180, -90, 180, 90)})


def warm_up(snapshot: Snapshot) -> None:
    """Ask each kind of question once."""
    if not len(snapshot.index.codes):
        return
    _search(snapshot)
    _fill_a_grid(snapshot)
    _find_changes(snapshot)


def _search(snapshot: Snapshot) -> None:
    index = snapshot.index
    code, chip_ids = index.codes.code(0).tobytes().hex(), (index.rows.chip_id(0),)
    parts = [part.name for part in snapshot.code.parts]
    for filters in _FILTERS:
        queries: list[dict[str, Any]] = [
            {"chip_ids": chip_ids, "max_distance": 0},
            {"chip_ids": chip_ids * 2},
            {"code": code, "bit_weights": "8" * snapshot.code.bits},
        ]
        # enough of each to be searched as a batch too
        queries += [{"code": code, "compare": compare} for compare in ("both", *parts)] * FEWEST_TOGETHER
        questions = [Question(SearchRequest.model_validate(query | filters)) for query in queries]
        answer(snapshot, questions, is_whole=True)


def _fill_a_grid(snapshot: Snapshot) -> None:
    code = snapshot.index.codes.code(0).tobytes().hex()
    question = Question(SearchRequest(code=code))
    for filters in _FILTERS:
        request = GridRequest.model_validate({"code": code, "width": 1, "height": 1} | filters)
        GridQuestion(request, question).answer(snapshot, is_whole=True)


def _find_changes(snapshot: Snapshot) -> None:
    """Look for changes among one row that has a place and a time: it is in no pair with itself."""
    index = snapshot.index
    columns = index.columns
    known_N = (columns.times_N != NO_TIME) & ~np.isnan(columns.boxes_N4[:, 0])
    pairs_among(places_of(index), np.flatnonzero(known_N)[:1], ChangesRequest(), snapshot.code)
