"""A shard's part of `POST /v1/search/grid`: its chips in the cells of a view, and at each distance.

Shapes: A cells with chips, D distances.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.api.explore import GridRequest
from pipelines.hamming.code_index import BitWeights
from pipelines.hamming.heat import View
from pipelines.hamming.jit import Int64s
from pipelines.hamming.limits import Limits
from pipelines.hamming.row_filter import EVERY_ROW
from pipelines.index.request_filters import select
from pipelines.serve.find import PreparedSearch, prepare
from pipelines.serve.question import Example, Question
from pipelines.serve.refusals import Refusal
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
        row_filter = select(index, request) if request.has_filters else EVERY_ROW
        weights = None if ranking.bit_weights is None else BitWeights(ranking.own_weights, ranking.unit)
        scale, heat = index.codes.heat(
            search.examples,
            index.columns.boxes_N4,
            view_of(request),
            Limits(None, request.max_distance, search.excluded_rows, row_filter),
            comparison=ranking.comparison,
            bit_weights=weights,
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
