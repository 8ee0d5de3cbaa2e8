"""One snapshot's part of the answers to questions.

Shapes: E examples, Y bytes a code, K rows found.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.filters import select
from pipelines.index.answer import Hits
from pipelines.index.archive import Archive
from pipelines.index.examples import search_examples
from pipelines.index.selection import EVERY_ROW
from pipelines.serve.cursor import START
from pipelines.serve.places import chip_at
from pipelines.serve.question import Example, Found, Question, Said

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class _Search:
    """A question whose examples are known."""

    question: Question
    positives_EY: Codes
    negatives_EY: Codes
    excluded_rows: list[int]

    @property
    def is_plain(self) -> bool:
        """Whether the index can answer it together with others."""
        alone = len(self.positives_EY) == 1 and not len(self.negatives_EY) and len(self.excluded_rows) <= 1
        return alone and not self.question.request.has_filters


def answer(archive: Archive, questions: Sequence[Question], *, is_whole: bool) -> list[Said]:
    """Return what a snapshot says to each question.

    Where it isn't the whole table, a question is answered once the codes of its examples are known: until
    then the examples that are here are told. Raises ValueError for a code of another length than its own.
    """
    said: list[Said] = []
    searches: dict[int, _Search] = {}
    for place, question in enumerate(questions):
        examples = () if question.is_resolved else _examples(archive, question)
        said.append(Said(tuple(examples)))
        resolved = question.with_examples(examples) if is_whole else question
        if resolved.is_resolved:
            searches[place] = _search_of(archive, resolved)
    for place, hits in _all_hits(archive, searches).items():
        said[place] = replace(said[place], found=_found(archive, searches[place].question, hits))
    return said


def _examples(archive: Archive, question: Question) -> list[Example]:
    """Return those of a question's examples that are here."""
    point = question.request.point
    if point is not None:
        here = chip_at(archive, *point)
        return [] if here is None else [_example(archive, here[0], here[1])]
    rows = [archive.rows.find(chip_id) for chip_id in question.example_ids]
    return [_example(archive, row) for row in rows if row is not None]


def _example(archive: Archive, row: int, preference: tuple[float, float, str] | None = None) -> Example:
    return Example(archive.rows.chip_id(row), archive.codes.code(row).tobytes(), preference)


def _search_of(archive: Archive, question: Question) -> _Search:
    request = question.request
    if request.code is not None:
        return _Search(question, _stacked([bytes.fromhex(request.code)]), np.empty((0, 0), np.uint8), [])
    negative_ids = request.negative_ids or ()
    positives = question.example_ids[: len(question.example_ids) - len(negative_ids)]
    rows = [archive.rows.find(chip_id) for chip_id in question.example_ids if question.excludes_examples]
    return _Search(
        question,
        _stacked([question.codes[chip_id] for chip_id in positives]),
        _stacked([question.codes[chip_id] for chip_id in negative_ids]),
        [row for row in rows if row is not None],
    )


def _stacked(codes: Sequence[bytes]) -> Codes:
    return (
        np.stack([np.frombuffer(code, np.uint8) for code in codes]) if codes else np.empty((0, 0), np.uint8)
    )


def _all_hits(archive: Archive, searches: dict[int, _Search]) -> dict[int, Hits]:
    """Return the hits of each search; those that are alike are searched together."""
    hits: dict[int, Hits] = {}
    alike: dict[tuple[int, int | None], list[int]] = defaultdict(list)
    for place, search in searches.items():
        if search.is_plain:
            alike[search.question.reach, search.question.request.max_distance].append(place)
        else:
            hits[place] = _hits(archive, search)
    for (k, max_distance), places in alike.items():
        if len(places) == 1:
            hits[places[0]] = _hits(archive, searches[places[0]])
            continue
        together = archive.codes.search_batch(
            np.concatenate([searches[place].positives_EY for place in places]),
            k,
            max_distance,
            excluded_rows=[next(iter(searches[place].excluded_rows), None) for place in places],
        )
        hits |= zip(places, together, strict=True)
    return hits


def _hits(archive: Archive, search: _Search) -> Hits:
    request, k = search.question.request, search.question.reach
    selection = select(archive, request) if request.has_filters else EVERY_ROW
    if len(search.positives_EY) == 1 and not len(search.negatives_EY):
        return archive.codes.search(
            search.positives_EY[0],
            k,
            request.max_distance,
            excluded_row=next(iter(search.excluded_rows), None),
            selection=selection,
        )
    width = search.positives_EY.shape[1]
    return search_examples(
        archive.codes,
        search.positives_EY,
        search.negatives_EY.reshape(-1, width),
        k,
        request.max_distance,
        excluded_rows=search.excluded_rows,
        selection=selection,
    )


def _found(archive: Archive, question: Question, hits: Hits) -> Found:
    """Return what the ingress must know of the hits to word its page."""
    first = _passed(archive, question, hits)
    page = slice(first, first + question.page_size)
    chips = archive.rows.take(hits.rows_K[page])
    distances, counts = np.unique(hits.distances_K, return_counts=True)
    return Found(
        chips.append_column("distance", pa.array(hits.distances_K[page].astype(np.float64))),
        tuple(zip(distances.tolist(), counts.tolist(), strict=True)),
        hits.ties_at_cutoff,
        hits.within,
        hits.method,
        hits.codes_compared,
    )


def _passed(archive: Archive, question: Question, hits: Hits) -> int:
    """Return how many hits the pages so far have had."""
    cursor = question.cursor
    if cursor == START:
        return 0
    low, high = (int(np.searchsorted(hits.distances_K, cursor.distance, side)) for side in ("left", "right"))
    return bisect_right(
        range(high), cursor.chip_id, low, key=lambda place: archive.rows.chip_id(int(hits.rows_K[place]))
    )
