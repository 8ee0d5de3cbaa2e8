"""Searching codes of one part: multi-index hashing first, a scan where that would cost more.

Shapes: Q queries, M items, K rows of an answer, W words a code.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from pipelines.hamming.answer import Answer, Hits
from pipelines.hamming.jit import Int64s
from pipelines.hamming.kernel_calls import Kernels
from pipelines.hamming.multi_index import Query
from pipelines.hamming.row_filter import EVERY_ROW, PASS_ALL, ROWS, RowFilter, is_wide
from pipelines.hamming.top_k import ALL, TopK, merge

Result = TypeVar("Result")
Method = Literal["auto", "scan", "mih"]
"""Multi-index hashing (mih), a scan, or whichever of them is cheaper."""

_FEW = 1 << 18  # codes; a scan of so few ends sooner than a thread starts
_BATCH_GAIN = 4  # a scan for several queries costs each of them a quarter
_TRIALS = 4  # if hashing costs too much for four queries in a row, the rest of the batch is scanned


class Workers(NamedTuple):
    """The threads of a search."""

    pool: ThreadPoolExecutor
    threads: int

    def run(self, call: Callable[[int], Result], parts: range) -> list[Result]:
        """Call with each number, in threads if there are several; return the results in order."""
        return list(self.pool.map(call, parts)) if len(parts) > 1 else [call(part) for part in parts]


def search_one_part(kernels: Kernels, query: Query, method: Method, workers: Workers) -> Hits:
    """Return the answer to a query."""
    limit, row_filter = query.limit, query.row_filter
    if kernels.arrays.tables.starts_TP.size and (
        method == "mih" or (method == "auto" and is_wide(row_filter))
    ):
        budget = ALL if method == "mih" else int(_scan_cost(kernels, row_filter, workers.threads))
        answer = kernels.answer_by_tables(query, budget)
        if answer.is_finished:
            return _hits(query, answer, "mih")
        limit = answer.limit
    if row_filter.kind == PASS_ALL:
        return _scan(kernels, [query], limit, workers)[0]
    return _hits(query, kernels.answer_by_rows(query, limit), "scan")


def search_one_part_batch(
    kernels: Kernels, queries: list[Query], method: Method, workers: Workers
) -> list[Hits]:
    """Return the answers to queries that differ in code and excluded row only, and have no filter."""
    if not queries:
        return []
    answers: list[Hits | None] = [None] * len(queries)
    if method != "scan" and kernels.arrays.tables.starts_TP.size:
        cost = _scan_cost(kernels, EVERY_ROW, workers.threads, len(queries))
        answers = _search_tables_in_turn(kernels, queries, ALL if method == "mih" else int(cost), workers)
    left = [place for place, hits in enumerate(answers) if hits is None]
    if left:
        scanned = _scan(kernels, [queries[place] for place in left], queries[0].limit, workers)
        for place, hits in zip(left, scanned, strict=True):
            answers[place] = hits
    return [hits for hits in answers if hits is not None]


def _scan_cost(kernels: Kernels, row_filter: RowFilter, threads: int, queries: int = 1) -> float:
    """Return the cost of a scan for each query; the unit is one code that one thread compares."""
    if row_filter.kind != PASS_ALL:
        return float(row_filter.blocks_B.size * ROWS)
    distinct = kernels.arrays.distinct
    shared = _BATCH_GAIN if queries > 1 else 1
    return distinct / shared / (1 if distinct < 2 * _FEW else threads)


def _search_tables_in_turn(
    kernels: Kernels, queries: list[Query], budget: int, workers: Workers
) -> list[Hits | None]:
    """Return answers by hashing; None for queries too dear, and for all that come after a few such in a row.

    Each thread takes every ``workers.threads``-th query, and gives up by itself.
    """
    answers: list[Hits | None] = [None] * len(queries)

    def answer_from(first: int) -> None:
        too_dear = 0
        for place in range(first, len(queries), workers.threads):
            answer = kernels.answer_by_tables(queries[place], budget)
            if answer.is_finished:
                answers[place], too_dear = _hits(queries[place], answer, "mih"), 0
                continue
            too_dear += 1
            if too_dear == _TRIALS:
                return

    workers.run(answer_from, range(workers.threads))
    return answers


def _scan(kernels: Kernels, queries: list[Query], limit: int, workers: Workers) -> list[Hits]:
    """Compare every code with every query; ``limit``: a distance that holds all answers [bits]."""
    count = kernels.arrays.distinct
    parts = 1 if count < 2 * _FEW else workers.threads
    runs = list(pairwise(count * part // parts for part in range(parts + 1)))

    def compare(part: int) -> tuple[TopK, Int64s]:
        return kernels.scan_groups(runs[part], queries, limit)

    done = workers.run(compare, range(parts))
    top_k, items_M3 = merge(done, queries[0].k)
    if len(queries) == 1:
        return [_scanned(kernels, queries[0], 0, top_k, items_M3)]
    items_M3 = items_M3[np.argsort(items_M3[:, 0], kind="stable")]
    starts = np.searchsorted(items_M3[:, 0], np.arange(len(queries) + 1)).tolist()
    return [
        _scanned(kernels, query, place, top_k, items_M3[start:end])
        for place, (query, (start, end)) in enumerate(zip(queries, pairwise(starts), strict=True))
    ]


def _scanned(kernels: Kernels, query: Query, place: int, top_k: TopK, items_M3: Int64s) -> Hits:
    """Return the answer to the query at a place, given the groups that a scan has found for it."""
    limit = int(top_k.limits_Q[place])
    rows_K, distances_K = kernels.answer_from_groups(query, limit, items_M3)
    within = int(top_k.counts_QD[place, : query.radius + 1].sum())
    compared = int(top_k.totals[1]) // len(top_k.limits_Q)
    covered = int(top_k.covered_Q[place])
    return _hits(query, Answer(True, limit, rows_K, distances_K, covered, within, compared), "scan")


def _hits(query: Query, answer: Answer, method: Literal["scan", "mih"]) -> Hits:
    _, _, rows_K, distances_K, covered, within, compared = answer
    return Hits(
        rows_K,
        distances_K,
        np.zeros(rows_K.size, np.int64),
        distances_K[:, None],
        int(distances_K[-1]) if rows_K.size else None,
        covered - rows_K.size,
        None if query.radius < 0 else within,
        method,
        compared,
    )
