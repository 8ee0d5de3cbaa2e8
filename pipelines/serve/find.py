"""Answers questions from one snapshot.

Shapes: E examples, Y bytes a code, K rows found, P parts of a code.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.answer import Hits
from pipelines.hamming.code_index import Examples
from pipelines.hamming.comparison import Comparison
from pipelines.hamming.examples import search_examples
from pipelines.hamming.limits import Limits
from pipelines.hamming.row_filter import EVERY_ROW
from pipelines.index.request_filters import select
from pipelines.index.table_index import TableIndex
from pipelines.serve.chip_at import Preference, chip_at
from pipelines.serve.cursor import START
from pipelines.serve.page import Chips, wanted_of_table
from pipelines.serve.question import Example, PartialResult, Question, ShardReply
from pipelines.serve.ranking import Ranking
from pipelines.serve.snapshot import Snapshot

Codes = NDArray[np.uint8]
Rows = NDArray[np.int64]
_Held = dict[str, tuple[int, Preference | None]]  # chip id -> row, and the preference of a chip at a point


@dataclass(frozen=True)
class PreparedSearch:
    """A question with the codes of its examples."""

    question: Question
    ranking: Ranking
    examples: Examples
    excluded_rows: tuple[int, ...]

    @property
    def has_one_example(self) -> bool:
        """Whether there is one positive example, and no negative one."""
        return tuple(map(len, self.examples)) == (1, 0)

    @property
    def is_plain(self) -> bool:
        """Whether the index can search it in one batch with others."""
        has_filters = self.question.request.has_filters or len(self.excluded_rows) > 1
        return self.has_one_example and self.ranking.bit_weights is None and not has_filters

    @property
    def farthest(self) -> int | None:
        """Greatest distance of a hit, in units of the index; None: no limit."""
        max_distance = self.question.request.max_distance
        return None if max_distance is None else max_distance * self.ranking.unit


def answer(snapshot: Snapshot, questions: Sequence[Question], *, is_whole: bool) -> list[ShardReply]:
    """Return a snapshot's reply to each question.

    ``is_whole``: the snapshot has all rows of the table, so the codes of all examples are here. Otherwise a
    question that lacks codes is not searched yet, and the reply only has the examples that are here. Raises
    ValueError for a code that isn't as long as the snapshot's codes, ComparisonError for a comparison that
    these codes don't allow.
    """
    index = snapshot.index
    prepared = [prepare(snapshot, question, is_whole=is_whole) for question in questions]
    searches = {place: search for place, (_, search) in enumerate(prepared) if search is not None}
    results = _partial_results(index, searches, _all_hits(index, searches))
    return [ShardReply(examples, results.get(place)) for place, (examples, _) in enumerate(prepared)]


def prepare(
    snapshot: Snapshot, question: Question, *, is_whole: bool
) -> tuple[tuple[Example, ...], PreparedSearch | None]:
    """Return the examples that are here, if codes are missing, and the search if none is missing any more."""
    index = snapshot.index
    held = _held_examples(index, question)
    resolved, examples = question, tuple[Example, ...]()
    if not question.is_resolved:
        examples = tuple(_example(index, *each) for each in held.items())
        resolved = question.with_examples(examples) if is_whole else question
    if not resolved.is_resolved:
        return examples, None
    excluded = tuple(row for row, _ in held.values()) if question.excludes_examples else ()
    return examples, _search_of(resolved, Ranking.of(resolved.request, snapshot.code), excluded)


def _held_examples(index: TableIndex, question: Question) -> _Held:
    """Return the question's examples that the index has."""
    point = question.request.point
    if point is not None and not question.is_resolved:
        found = chip_at(index, *point)
        return {} if found is None else {index.rows.chip_id(found[0]): found}
    rows = {chip_id: index.rows.find(chip_id) for chip_id in question.example_ids}
    return {chip_id: (row, None) for chip_id, row in rows.items() if row is not None}


def _example(index: TableIndex, chip_id: str, found: tuple[int, Preference | None]) -> Example:
    row, preference = found
    return Example(chip_id, index.codes.code(row).tobytes(), preference)


def _search_of(question: Question, ranking: Ranking, excluded_rows: tuple[int, ...]) -> PreparedSearch:
    request = question.request
    if request.code is not None:
        return PreparedSearch(question, ranking, _examples([bytes.fromhex(request.code)], []), ())
    negative_ids = request.negative_ids or ()
    positives = question.example_ids[: len(question.example_ids) - len(negative_ids)]
    codes = ([question.codes[chip_id] for chip_id in some] for some in (positives, negative_ids))
    return PreparedSearch(question, ranking, _examples(*codes), excluded_rows)


def _examples(positives: Sequence[bytes], negatives: Sequence[bytes]) -> Examples:
    """Return codes as arrays; there is at least one positive."""
    stacked_EY = np.frombuffer(b"".join([*positives, *negatives]), np.uint8).reshape(-1, len(positives[0]))
    return Examples(stacked_EY[: len(positives)], stacked_EY[len(positives) :])


def _all_hits(index: TableIndex, searches: dict[int, PreparedSearch]) -> dict[int, Hits]:
    """Return the hits of each search. Searches that differ only in their code run as one batch."""
    hits: dict[int, Hits] = {}
    alike: dict[tuple[int, int | None, Comparison], list[int]] = defaultdict(list)
    for place, search in searches.items():
        if search.is_plain:
            reach = _reach(index, search.question)
            alike[reach, search.farthest, search.ranking.comparison].append(place)
        else:
            hits[place] = _hits(index, search)
    for (k, farthest, comparison), places in alike.items():
        if len(places) == 1:
            hits[places[0]] = _hits(index, searches[places[0]])
            continue
        together = index.codes.search_batch(
            np.concatenate([searches[place].examples.positives_EY for place in places]),
            [Limits(k, farthest, searches[place].excluded_rows) for place in places],
            comparison=comparison,
        )
        hits |= zip(places, together, strict=True)
    return hits


def _reach(index: TableIndex, question: Question) -> int:
    """Return how many of the nearest chips to find: never more than there are, whatever a token claims."""
    return max(1, min(question.reach, len(index.codes)))


def _hits(index: TableIndex, search: PreparedSearch) -> Hits:
    request, comparison = search.question.request, search.ranking.comparison
    row_filter = select(index, request) if request.has_filters else EVERY_ROW
    limits = Limits(_reach(index, search.question), search.farthest, search.excluded_rows, row_filter)
    if not search.has_one_example:
        return search_examples(index.codes, search.examples, limits, comparison=comparison)
    code_Y = search.examples.positives_EY[0]
    if search.ranking.bit_weights is not None:
        weights_K = search.ranking.own_weights
        return index.codes.search_values(code_Y, weights_K, limits, comparison=comparison)
    return index.codes.search(code_Y, limits, comparison=comparison)


def _partial_results(
    index: TableIndex, searches: dict[int, PreparedSearch], hits: dict[int, Hits]
) -> dict[int, PartialResult]:
    """Return what the ingress needs from the hits of each search to make its page."""
    passed = {place: _passed(index, search, hits[place]) for place, search in searches.items()}
    pages = {
        place: hits[place].rows_K[first : first + searches[place].question.page_size]
        for place, first in passed.items()
    }
    asked = {place: search.question.request for place, search in searches.items()}
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, request in asked.items():
        alike[wanted_of_table(request.format, request.fields)].append(place)
    results = {}
    for names, places in alike.items():
        # rows of all pages at once: that is quicker than page by page
        chips = index.rows.columns(np.concatenate([pages[place] for place in places]), names)
        first = 0
        for place in places:
            end = first + len(pages[place])
            own = {name: values[first:end] for name, values in chips.items()}
            results[place] = _partial_result(searches[place], hits[place], passed[place], own)
            first = end
    return results


def _partial_result(search: PreparedSearch, hits: Hits, passed: int, chips: Chips) -> PartialResult:
    """Return a search's result; ``chips``: the columns of the table for its page. They get the distances."""
    parts = search.ranking.code.parts
    distances, ties = _in_bits(hits.distances_K, search), _in_bits(hits.ties_K, search)
    page = slice(passed, passed + len(chips["chip_id"]))
    chips |= {"distance": distances[page], "tie": ties[page]}
    if len(parts) > 1:
        for number, part in enumerate(parts):
            chips[f"{part.name}_distance"] = hits.part_distances_KP[page, number].tolist()
    return PartialResult(
        chips,
        tuple(Counter(zip(distances, ties, strict=True)).items()),
        hits.ties_at_cutoff,
        hits.within,
        hits.method,
        hits.codes_compared,
        passed,
    )


def _in_bits(distances_K: NDArray[Any], search: PreparedSearch) -> list[float]:
    """Return distances of the index in bits."""
    unit = search.ranking.unit
    distances: list[float] = (distances_K if unit == 1 else distances_K / unit).tolist()
    return distances


def _passed(index: TableIndex, search: PreparedSearch, hits: Hits) -> int:
    """Return how many of the hits were on the pages before this one."""
    cursor = search.question.cursor
    if cursor == START:
        return 0
    distances, ties = _in_bits(hits.distances_K, search), _in_bits(hits.ties_K, search)
    return bisect_right(
        range(len(distances)),
        (cursor.distance, cursor.tie, cursor.chip_id),
        key=lambda place: (distances[place], ties[place], index.rows.chip_id(int(hits.rows_K[place]))),
    )
