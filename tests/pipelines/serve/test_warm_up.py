"""What a snapshot is asked has been compiled before it is served."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numba.core.dispatcher import Dispatcher

from pipelines.api.explore import ChangesRequest, GridRequest
from pipelines.api.requests import SearchRequest
from pipelines.serve.changes_part import ChangesLookup
from pipelines.serve.find import answer
from pipelines.serve.grid_part import GridQuestion
from pipelines.serve.question import Question
from pipelines.serve.warm_up import warm_up
from pipelines.table.pointer import read_pointer
from tests.pipelines.serve.conftest import Archive
from tests.pipelines.serve.test_snapshot import load


def compiled() -> Iterator[tuple[str, int]]:
    """Yield each of our kernels' names and for how many types of arguments it is compiled."""
    for module in [each for name, each in sys.modules.items() if name.startswith("pipelines.")]:
        for name, kernel in vars(module).items():
            if isinstance(kernel, Dispatcher):
                yield f"{module.__name__}.{name}", len(kernel.signatures)


SEARCHES: list[dict[str, Any]] = [
    {},
    {"k": 3, "max_distance": 2},
    {"bbox": (-10, -10, 10, 10)},
    {"datetime": "2020-01-01/2021-01-01", "min_valid_fraction": 0.5},
]


@pytest.mark.parametrize("wanted", SEARCHES)
def test_no_question_waits_for_a_compiler(archive: Archive, tmp_path: Path, wanted: dict[str, Any]) -> None:
    snapshot = load(archive, read_pointer(archive.table, archive.store), tmp_path)
    warm_up(snapshot)
    before = dict(compiled())
    assert len(before) > 40
    first, second = archive.ids()[:2]
    code = snapshot.index.codes.code(3).tobytes().hex()
    filters = {name: value for name, value in wanted.items() if name not in ("k", "max_distance")}
    for example in (
        {"chip_ids": (first,)},
        {"chip_ids": (first,), "negative_ids": (second,)},
        {"code": code},
        {"code": code, "bit_weights": "1" * snapshot.code.bits},
    ):
        question = Question(SearchRequest.model_validate(example | wanted))
        answer(snapshot, [question], is_whole=True)
        grid = GridRequest.model_validate(example | filters)
        part = GridQuestion(grid, question).answer(snapshot, is_whole=True)
        assert part.filled.histogram_D.sum() > 0 or filters
    for pair_filters in (filters, filters | {"compare": "both", "k": 5, "min_distance": 1}):
        ChangesLookup(ChangesRequest.model_validate(pair_filters)).answer(snapshot, is_whole=True)
    assert dict(compiled()) == before
