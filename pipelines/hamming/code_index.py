"""Exact Hamming search over packed codes: the k nearest, all within a radius, or both.

Shapes: N rows, Q queries, Y bytes a code, V values of a byte, W words of 64 bits, K bits.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.answer import Hits
from pipelines.hamming.arrays import IndexArrays
from pipelines.hamming.bit_order import bit_places, lookup_table, reorder, restore
from pipelines.hamming.comparison import Comparison, all_alike
from pipelines.hamming.heat import Heat, Scale, View, scale_of
from pipelines.hamming.jit import Words
from pipelines.hamming.kernel_calls import Kernels
from pipelines.hamming.multi_index import Query
from pipelines.hamming.one_part import Method, Workers, search_one_part, search_one_part_batch
from pipelines.hamming.parted import (
    MOST_BIT_WEIGHT,
    Question,
    can_search_together,
    plan_of,
    search_parts,
    search_parts_together,
)
from pipelines.hamming.row_filter import EVERY_ROW, Floats, RowFilter
from pipelines.hamming.top_k import ALL

Codes = NDArray[np.uint8]
"""Packed codes_NY, as in the code table."""

_COMPARISONS = 64  # whose plans are kept
_NONE = -1


class CodeIndex:
    """Codes in memory, or mapped from files. Rows are those of the codes that it was built from."""

    def __init__(self, arrays: IndexArrays, threads: int = 1) -> None:
        """``threads``: how many a search may use; they don't hold the GIL."""
        self.arrays = arrays
        self.bits = int(arrays.order_K.size)
        self.part_bits: tuple[int, ...] = tuple(arrays.part_bits_P.tolist())
        self._kernels = Kernels(arrays)
        self._lookup_YVW = lookup_table(arrays.order_K, self.part_bits)
        self._places_K = bit_places(self.part_bits)
        self._alike = all_alike(self.part_bits)
        self._plan = lru_cache(_COMPARISONS)(plan_of)
        self._workers = Workers(ThreadPoolExecutor(threads, thread_name_prefix="hamming"), threads)

    def __len__(self) -> int:
        return int(self.arrays.codes_WN.shape[1])

    @property
    def distinct_codes(self) -> int:
        """How many different codes there are."""
        return self.arrays.distinct

    @property
    def resident_bytes(self) -> int:
        """Bytes of all that searches without a filter read; the rest of a mapped index stays on disk."""
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
        row_filter: RowFilter = EVERY_ROW,
        method: Method = "auto",
    ) -> Hits:
        """Return the first ``k`` rows of those within ``max_distance``; None: no such limit.

        ``comparison``: how much each part counts; None: each bit once. ``excluded_row`` and rows that don't
        pass ``row_filter`` are no answers. Raises ValueError for a code of another length than the index's, a
        comparison of other parts, k below 1, or a negative distance.
        """
        comparison = self.checked(comparison, k, max_distance)
        if len(self.part_bits) > 1:
            query_W = self.words(code_Y[None])[0]
            question = Question(query_W, comparison, k, max_distance, excluded_row, row_filter)
            plan = self._plan(self.part_bits, comparison)
            return search_parts(self._kernels, question, plan, method, self._workers)
        weight, tie_weight = comparison.weights[0], comparison.tie_weights[0]
        farthest = None if max_distance is None else max_distance // weight
        query = self._query(code_Y, k, farthest, excluded_row, row_filter)
        return _weighted(search_one_part(self._kernels, query, method, self._workers), weight, tie_weight)

    def search_values(
        self,
        code_Y: Codes,
        bit_weights_K: NDArray[np.integer],
        k: int | None,
        max_distance: int | None = None,
        *,
        comparison: Comparison | None = None,
        excluded_row: int | None = None,
        row_filter: RowFilter = EVERY_ROW,
    ) -> Hits:
        """Return the first ``k`` rows where each bit has a weight of its own, as from a picture's outputs.

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
        question = Question(query_W, comparison, k, max_distance, excluded_row, row_filter, ordered_K)
        plan = plan_of(self.part_bits, comparison, ordered_K)
        return search_parts(self._kernels, question, plan, "scan", self._workers)

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

        ``excluded_rows``: for each query a row, or None.
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
        answers = search_one_part_batch(self._kernels, queries, method, self._workers)
        return [_weighted(hits, weight, tie_weight) for hits in answers]

    def heat(
        self,
        positives_EY: Codes,
        negatives_EY: Codes,
        boxes_N4: Floats,
        view: View,
        max_distance: int | None = None,
        *,
        comparison: Comparison | None = None,
        bit_weights_K: NDArray[np.integer] | None = None,
        weight_of_a_bit: int = 1,
        excluded_rows: Sequence[int] = (),
        row_filter: RowFilter = EVERY_ROW,
    ) -> tuple[Scale, Heat]:
        """Return what lies in the cells of a view and how many rows lie at each distance; and their scale.

        Distances are those of `search`, of `search_values` with ``bit_weights_K``, of which
        ``weight_of_a_bit`` is one bit, and of `search_examples` with several examples. ``boxes_N4``: the box
        of each row, as of `Columns`. ``max_distance``: of rows in cells [bits]. Raises ValueError as `search`
        does.
        """
        comparison = self.checked(comparison, None, max_distance)
        own_K = np.ones(self.bits, np.int64) if bit_weights_K is None else bit_weights_K[self.arrays.order_K]
        weights_B = np.zeros(self.arrays.codes_WN.shape[0] * 64, np.int64)
        weights_B[self._places_K] = own_K * np.repeat(comparison.weights, self.part_bits)
        examples = (self.words(positives_EY), self.words(negatives_EY.reshape(-1, self.bits // 8)))
        scale = scale_of(*examples, weights_B, weight_of_a_bit)
        farthest = scale.greatest if max_distance is None else max_distance * scale.unit
        excluded_X = np.array(excluded_rows, np.int64)
        return scale, self._kernels.heat(scale, boxes_N4, view, farthest, excluded_X, row_filter)

    def checked(self, comparison: Comparison | None, k: int | None, max_distance: int | None) -> Comparison:
        """Return the comparison; by default each bit counts once.

        Raises ValueError for a comparison of other parts, k below 1, or a negative distance.
        """
        if (k is not None and k < 1) or (max_distance or 0) < 0:
            raise ValueError(f"k ({k}) must be 1 or more, max_distance ({max_distance}) 0 or more")
        comparison = comparison or self._alike
        if len(comparison.weights) != len(self.part_bits):
            raise ValueError(f"the codes have {len(self.part_bits)} parts, {comparison} is of others")
        return comparison

    def _answer_parts(self, questions: list[Question], method: Method) -> list[Hits]:
        """Answer a batch over codes in parts."""
        if not questions:
            return []
        plan = self._plan(self.part_bits, questions[0].comparison)
        if can_search_together(self._kernels, questions):
            return search_parts_together(self._kernels, questions, plan, self._workers)
        return [search_parts(self._kernels, question, plan, method, self._workers) for question in questions]

    def _query(
        self,
        code_Y: Codes,
        k: int | None,
        max_distance: int | None,
        excluded_row: int | None,
        row_filter: RowFilter,
    ) -> Query:
        """Return a question about codes of one part; ``max_distance`` in bits."""
        limit = self.bits if max_distance is None else min(max_distance, self.bits)
        return Query(
            row_filter,
            self.words(code_Y[None]).T,
            ALL if k is None else k,
            limit,
            _NONE if max_distance is None else limit,
            _NONE if excluded_row is None else excluded_row,
            _NONE if excluded_row is None else self._kernels.group_of(excluded_row),
        )


def _weighted(hits: Hits, weight: int, tie_weight: int) -> Hits:
    """Return the hits of a search of codes of one part, each bit of which counts ``weight`` times."""
    if weight == 1 and not tie_weight:
        return hits
    kth = hits.kth_distance
    return replace(
        hits,
        distances_K=hits.distances_K * weight,
        ties_K=hits.distances_K * tie_weight,
        kth_distance=None if kth is None else kth * weight,
    )
