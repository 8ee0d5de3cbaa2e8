"""Exact Hamming search over packed codes: the k nearest, all within a radius, or both.

Shapes: N rows, M selected rows, Q queries, Y bytes a code, W words of 64 bits, P parts, U groups (distinct
codes), K bits, or rows of an answer.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.answer import Hits, answer_by_rows, answer_by_tables, rows_of_groups
from pipelines.hamming.arrays import IndexArrays
from pipelines.hamming.bit_order import bit_places, lookup_table, reorder, restore
from pipelines.hamming.comparison import Comparison, all_alike
from pipelines.hamming.found import ALL, Found, Int64s, merged, nothing_found
from pipelines.hamming.groups import find_group
from pipelines.hamming.kernels import Words
from pipelines.hamming.multi_index import Query
from pipelines.hamming.parted import (
    MOST_BIT_WEIGHT,
    Question,
    can_search_together,
    plan_of,
    search_parts,
    search_parts_together,
)
from pipelines.hamming.scan import scan_groups
from pipelines.hamming.selection import EVERY_ROW, ROWS, Selection, is_wide

Codes = NDArray[np.uint8]
"""Packed codes_NY, as in the code table."""
Answered = Literal["scan", "mih"]
Method = Literal["auto", "scan", "mih"]

_COMPARISONS = 64  # whose plans are kept
_FEW = 1 << 18  # codes that are scanned sooner than a thread starts
_NONE = -1
_BATCH_GAIN = 4  # how much less a scan costs a query where a block is compared with many
_TRIALS = 4  # queries of a batch that must all be given up before the others are scanned straight away


class CodeIndex:
    """Codes in memory, or mapped from files. Rows are those of the codes that it was built from."""

    def __init__(self, arrays: IndexArrays, threads: int = 1) -> None:
        """Search with so many threads; they don't hold the GIL."""
        self.arrays = arrays
        self.bits = int(arrays.order_K.size)
        self.part_bits: tuple[int, ...] = tuple(arrays.part_bits_P.tolist())
        self._plain = tuple(arrays.groups), tuple(arrays.tables), arrays.substring_bits, arrays.ranks_N
        self._lookup_YVW = lookup_table(arrays.order_K, self.part_bits)
        self._places_K = bit_places(self.part_bits)
        self._alike = all_alike(self.part_bits)
        self._plan = lru_cache(_COMPARISONS)(plan_of)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hamming")

    def __len__(self) -> int:
        return int(self.arrays.codes_WN.shape[1])

    @property
    def distinct_codes(self) -> int:
        """How many different codes there are."""
        return self.arrays.distinct

    @property
    def resident_bytes(self) -> int:
        """Bytes of all that searches without a filter read; the rest stays on disk where it is mapped."""
        arrays = self.arrays
        return sum(a.nbytes for a in (*arrays.groups, *arrays.tables, *arrays.blocks, arrays.ranks_N))

    def code(self, row: int) -> Codes:
        """Return a row's code_Y."""
        return restore(self.arrays.codes_WN[:, row], self.arrays.order_K, self._places_K)

    def words(self, codes_QY: Codes) -> Words:
        """Return codes as queries_QW, in the index's own order. Raises ValueError for another length."""
        if codes_QY.ndim != 2 or codes_QY.shape[1] != self.bits // 8:
            raise ValueError(f"the code has {codes_QY.shape[-1] * 8} bits, the index {self.bits}")
        words_WQ = np.empty((self.arrays.codes_WN.shape[0], len(codes_QY)), np.uint64)
        reorder(np.ascontiguousarray(codes_QY), self._lookup_YVW, words_WQ)
        return np.ascontiguousarray(words_WQ.T)

    def search(
        self,
        code_Y: Codes,
        k: int | None,
        max_distance: int | None = None,
        *,
        comparison: Comparison | None = None,
        excluded_row: int | None = None,
        selection: Selection = EVERY_ROW,
        method: Method = "auto",
    ) -> Hits:
        """Return the ``k`` first rows among those within ``max_distance``; None: no such limit.

        ``comparison``: how much each part counts; None: each bit once. ``excluded_row`` and rows outside
        ``selection`` are no answers. ``auto`` takes the cheaper method. Raises ValueError where the code
        isn't as long as the index's, the comparison is of other parts, or a limit is negative.
        """
        comparison = self.checked(comparison, k, max_distance)
        if len(self.part_bits) > 1:
            query_W = self.words(code_Y[None])[0]
            question = Question(query_W, comparison, k, max_distance, excluded_row, selection)
            plan = self._plan(self.part_bits, comparison)
            return search_parts(self.arrays, question, plan, method, self._pool, self._threads)
        weight, tie_weight = comparison.weights[0], comparison.tie_weights[0]
        farthest = None if max_distance is None else max_distance // weight
        hits = self._search_one_part(code_Y, k, farthest, excluded_row, selection, method)
        return _weighted(hits, weight, tie_weight)

    def search_values(
        self,
        code_Y: Codes,
        bit_weights_K: NDArray[np.integer],
        k: int | None,
        max_distance: int | None = None,
        *,
        comparison: Comparison | None = None,
        excluded_row: int | None = None,
        selection: Selection = EVERY_ROW,
    ) -> Hits:
        """Return the ``k`` first rows where bits count differently, as the outputs of a picture say.

        ``bit_weights_K``: whole numbers 0..15, in the order of the table's bits. The distance is the sum over
        parts of the part's weight times the weights of the bits that differ; the tie is such a sum too. The
        hits' part distances count bits. Raises ValueError as `search` does, and for other weights.
        """
        comparison = self.checked(comparison, k, max_distance)
        weights_K = np.asarray(bit_weights_K)
        if weights_K.shape != (self.bits,) or weights_K.min() < 0 or weights_K.max() > MOST_BIT_WEIGHT:
            raise ValueError(
                f"give a whole number from 0 to {MOST_BIT_WEIGHT} for each of the {self.bits} bits"
            )
        query_W, ordered_K = self.words(code_Y[None])[0], weights_K[self.arrays.order_K].astype(np.int64)
        question = Question(query_W, comparison, k, max_distance, excluded_row, selection, ordered_K)
        plan = plan_of(self.part_bits, comparison, ordered_K)
        return search_parts(self.arrays, question, plan, "scan", self._pool, self._threads)

    def checked(self, comparison: Comparison | None, k: int | None, max_distance: int | None) -> Comparison:
        """Return the comparison. Raises ValueError where it or a limit can't be."""
        if (k is not None and k < 1) or (max_distance or 0) < 0:
            raise ValueError(f"k ({k}) must be 1 or more, max_distance ({max_distance}) 0 or more")
        comparison = comparison or self._alike
        if len(comparison.weights) != len(self.part_bits):
            raise ValueError(f"the codes have {len(self.part_bits)} parts, {comparison} is of others")
        return comparison

    def _search_one_part(
        self,
        code_Y: Codes,
        k: int | None,
        max_distance: int | None,
        excluded_row: int | None,
        selection: Selection,
        method: Method,
    ) -> Hits:
        query = self._query(code_Y, k, max_distance, excluded_row, selection)
        limit = query.limit
        if self.arrays.tables.starts_TP.size and (
            method == "mih" or (method == "auto" and is_wide(selection))
        ):
            budget = ALL if method == "mih" else int(self._scan_cost(selection))
            hits, limit = self._search_tables(query, budget)
            if hits is not None:
                return hits
        return self._scan(query, limit)

    def search_batch(
        self,
        codes_QY: Codes,
        k: int | None,
        max_distance: int | None = None,
        *,
        comparison: Comparison | None = None,
        excluded_rows: Sequence[int | None] | None = None,
        method: Method = "auto",
    ) -> list[Hits]:
        """Return the answer of `search` to each query; a scan reads the codes once for all of them.

        ``excluded_rows``: one of each query, or None.
        """
        excluded = [None] * len(codes_QY) if excluded_rows is None else excluded_rows
        comparison = self.checked(comparison, k, max_distance)
        if len(self.part_bits) > 1:
            questions = [
                Question(query_W, comparison, k, max_distance, row, EVERY_ROW)
                for query_W, row in zip(self.words(codes_QY), excluded, strict=True)
            ]
            return self._answer_parts(questions, method)
        weight, tie_weight = comparison.weights[0], comparison.tie_weights[0]
        farthest = None if max_distance is None else max_distance // weight
        queries = [
            self._query(code_Y, k, farthest, row, EVERY_ROW)
            for code_Y, row in zip(codes_QY, excluded, strict=True)
        ]
        answers: list[Hits | None] = [None] * len(queries)
        if method != "scan" and self.arrays.tables.starts_TP.size:
            budget = ALL if method == "mih" else int(self._scan_cost(EVERY_ROW, len(queries)))
            answers = self._search_tables_in_turn(queries, budget)
        left = [place for place, hits in enumerate(answers) if hits is None]
        for place, hits in zip(left, self._scan_groups([queries[place] for place in left]), strict=True):
            answers[place] = hits
        return [_weighted(hits, weight, tie_weight) for hits in answers if hits is not None]

    def _answer_parts(self, questions: list[Question], method: Method) -> list[Hits]:
        """Answer a batch over codes in parts."""
        if not questions:
            return []
        plan = self._plan(self.part_bits, questions[0].comparison)
        if can_search_together(self.arrays, questions):
            return search_parts_together(self.arrays, questions, plan, self._pool, self._threads)
        return [
            search_parts(self.arrays, question, plan, method, self._pool, self._threads)
            for question in questions
        ]

    def _query(
        self,
        code_Y: Codes,
        k: int | None,
        max_distance: int | None,
        excluded_row: int | None,
        selection: Selection,
    ) -> Query:
        limit = self.bits if max_distance is None else min(max_distance, self.bits)
        return Query(
            selection,
            self.words(code_Y[None]).T,
            ALL if k is None else k,
            limit,
            _NONE if max_distance is None else limit,
            _NONE if excluded_row is None else excluded_row,
            _NONE if excluded_row is None else self._group_of(excluded_row),
        )

    def _group_of(self, row: int) -> int:
        codes_WU = self.arrays.groups.codes_WU
        code_W = np.ascontiguousarray(self.arrays.codes_WN[:, row])
        return int(find_group(codes_WU, code_W, 0, codes_WU.shape[1]))

    def _scan_cost(self, selection: Selection, queries: int = 1) -> float:
        """Return what a scan costs for each query, in codes that one thread compares for a single query."""
        if selection.verdicts_B.size:
            return float(selection.blocks_B.size * ROWS)
        shared = _BATCH_GAIN if queries > 1 else 1
        return self.distinct_codes / shared / (1 if self.distinct_codes < 2 * _FEW else self._threads)

    def _search_tables(self, query: Query, budget: int) -> tuple[Hits | None, int]:
        """Return the answer, or None where it costs more than ``budget``; and how far it can be at most."""
        finished, limit, rows_K, distances_K, covered, within, compared = answer_by_tables(
            self._plain, query[1:], tuple(query.selection), self.bits, budget
        )
        if not finished:
            return None, limit
        return _hits(query, rows_K, distances_K, covered, within, "mih", compared), limit

    def _search_tables_in_turn(self, queries: list[Query], budget: int) -> list[Hits | None]:
        """Return answers; None for those that cost too much, and for all after a few of them in a row."""
        answers: list[Hits | None] = [None] * len(queries)
        first = 0
        while first < len(queries):
            turn = range(first, min(first + _TRIALS, len(queries)))
            for place, (hits, _) in zip(
                turn, self._pool.map(lambda p: self._search_tables(queries[p], budget), turn), strict=True
            ):
                answers[place] = hits
            if not any(answers[place] for place in turn):
                break
            first = turn.stop
        return answers

    def _scan(self, query: Query, limit: int) -> Hits:
        """Compare every code, or all that are selected; ``limit`` is known to be far enough."""
        if not query.selection.verdicts_B.size:
            return self._scan_groups([query], limit)[0]
        arrays = self.arrays
        _, _, rows_K, distances_K, covered, within, compared = answer_by_rows(
            arrays.codes_WN, arrays.ranks_N, query[1:], tuple(query.selection), limit, self.bits
        )
        return _hits(query, rows_K, distances_K, covered, within, "scan", compared)

    def _scan_groups(self, queries: list[Query], limit: int | None = None) -> list[Hits]:
        """Compare every code with every query, which are alike but for code and excluded row."""
        if not queries:
            return []
        first_query = queries[0]
        limit = first_query.limit if limit is None else limit
        queries_QW = np.concatenate([query.words_W1.T for query in queries])
        excluded_Q = np.array([query.excluded_group for query in queries])
        count = self.distinct_codes
        parts = 1 if count < 2 * _FEW else self._threads
        bounds = [count * part // parts for part in range(parts + 1)]

        def compare(part: int) -> tuple[Found, Int64s]:
            found, items_M3 = nothing_found(len(queries), limit, self.bits)
            return found, scan_groups(
                self.arrays.groups,
                bounds[part],
                bounds[part + 1],
                queries_QW,
                first_query.k,
                first_query.radius,
                excluded_Q,
                found,
                items_M3,
            )

        done = list(self._pool.map(compare, range(parts))) if parts > 1 else [compare(0)]
        found, items_M3 = merged(done, first_query.k)
        if len(queries) == 1:
            return [self._scanned(first_query, 0, found, items_M3)]
        items_M3 = items_M3[np.argsort(items_M3[:, 0], kind="stable")]
        starts = np.searchsorted(items_M3[:, 0], np.arange(len(queries) + 1))
        return [
            self._scanned(query, place, found, items_M3[starts[place] : starts[place + 1]])
            for place, query in enumerate(queries)
        ]

    def _scanned(self, query: Query, place: int, found: Found, items_M3: Int64s) -> Hits:
        """Return the answer to one query from what a scan has found."""
        rows_K, distances_K = rows_of_groups(
            self.arrays.groups,
            self.arrays.ranks_N,
            items_M3,
            int(found.limits_Q[place]),
            query.k,
            query.excluded_row,
            query.selection,
        )
        within = int(found.counts_QD[place, : query.radius + 1].sum())
        compared = int(found.totals[1]) // len(found.limits_Q)
        return _hits(query, rows_K, distances_K, int(found.covered_Q[place]), within, "scan", compared)


def _hits(
    query: Query,
    rows_K: Int64s,
    distances_K: Int64s,
    covered: int,
    within: int,
    method: Answered,
    compared: int,
) -> Hits:
    return Hits(
        rows_K,
        distances_K,
        np.zeros(rows_K.size, np.int64),
        distances_K[:, None],
        int(distances_K[-1]) if rows_K.size else None,
        covered - rows_K.size,
        None if query.radius == _NONE else within,
        method,
        compared,
    )


def _weighted(hits: Hits, weight: int, tie_weight: int) -> Hits:
    """Return the hits of a search of codes of one part, whose bits count ``weight`` times."""
    if weight == 1 and not tie_weight:
        return hits
    kth = hits.kth_distance
    return replace(
        hits,
        distances_K=hits.distances_K * weight,
        ties_K=hits.distances_K * tie_weight,
        kth_distance=None if kth is None else kth * weight,
    )
