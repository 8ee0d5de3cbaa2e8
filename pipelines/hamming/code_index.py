"""Exact Hamming search over packed codes: the k nearest, all within a radius, or both.

Shapes: N rows, Q queries, Y bytes a code, V values of a byte, W words of 64 bits, K bits.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.answer import Hits
from pipelines.hamming.arrays import IndexArrays
from pipelines.hamming.bit_order import bit_places, lookup_table, reorder, restore
from pipelines.hamming.comparison import Comparison, all_alike
from pipelines.hamming.heat import Heat, Scale, View, scale_of
from pipelines.hamming.jit import Int64s, Words
from pipelines.hamming.kernel_calls import Kernels
from pipelines.hamming.limits import Limits
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
from pipelines.hamming.row_filter import PASS_ALL, Floats
from pipelines.hamming.top_k import ALL

Codes = NDArray[np.uint8]
"""Packed codes_NY, as in the code table."""


class Examples(NamedTuple):
    """What is searched by: the mean distance to some codes, less the mean distance to others."""

    positives_EY: Codes
    negatives_EY: Codes


class BitWeights(NamedTuple):
    """How much each bit counts, in the order of the table's bits."""

    weights_K: NDArray[np.integer]
    of_a_bit: int
    """Weight that makes one bit of a distance."""


_COMPARISONS = 64  # whose plans are kept
_NONE = -1
_ROWS_AT_ONCE = 1 << 16  # whose bits are in memory, a byte each


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

    def codes(self, rows_M: Int64s) -> Codes:
        """Return the codes_MY of some rows, in their order."""
        codes_MY = np.empty((len(rows_M), self.bits // 8), np.uint8)
        for first in range(0, len(rows_M), _ROWS_AT_ONCE):
            some = slice(first, first + _ROWS_AT_ONCE)
            words_MW = self.arrays.codes_WN[:, rows_M[some]].T.astype(">u8", order="C")
            ordered_MK = np.unpackbits(words_MW.view(np.uint8), axis=1)  # a word's first bit comes first
            bits_MK = np.empty((len(words_MW), self.bits), np.uint8)
            bits_MK[:, self.arrays.order_K] = ordered_MK[:, self._places_K]
            codes_MY[some] = np.packbits(bits_MK, axis=1, bitorder="little")
        return codes_MY

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
        limits: Limits,
        *,
        comparison: Comparison | None = None,
        method: Method = "auto",
    ) -> Hits:
        """Return the first rows of those within the limits.

        ``comparison``: how much each part counts; None: each bit once. Raises ValueError for a code of
        another length than the index's, a comparison of other parts, k below 1, a negative distance, or
        several excluded rows.
        """
        comparison = self.checked(comparison, limits)
        if len(self.part_bits) > 1:
            question = Question(self.words(code_Y[None])[0], comparison, limits)
            plan = self._plan(self.part_bits, comparison)
            return search_parts(self._kernels, question, plan, method, self._workers)
        query = self._query(code_Y, limits, comparison)
        return _weighted(search_one_part(self._kernels, query, method, self._workers), comparison)

    def search_values(
        self,
        code_Y: Codes,
        bit_weights_K: NDArray[np.integer],
        limits: Limits,
        *,
        comparison: Comparison | None = None,
    ) -> Hits:
        """Return the first rows where each bit has a weight of its own, as from a picture's outputs.

        ``bit_weights_K``: whole numbers 0..15, in the order of the table's bits. The distance is the sum over
        parts of the part's weight times the weights of the bits that differ; the tie is such a sum too. The
        hits' part distances count bits. Raises ValueError as `search` does, and for other weights.
        """
        comparison = self.checked(comparison, limits)
        weights_K = np.asarray(bit_weights_K)
        if weights_K.shape != (self.bits,) or weights_K.min() < 0 or weights_K.max() > MOST_BIT_WEIGHT:
            raise ValueError(
                f"give a whole number from 0 to {MOST_BIT_WEIGHT} for each of the {self.bits} bits"
            )
        query_W, ordered_K = self.words(code_Y[None])[0], weights_K[self.arrays.order_K].astype(np.int64)
        question = Question(query_W, comparison, limits, ordered_K)
        plan = plan_of(self.part_bits, comparison, ordered_K)
        return search_parts(self._kernels, question, plan, "scan", self._workers)

    def search_batch(
        self,
        codes_QY: Codes,
        limits_Q: Sequence[Limits],
        *,
        comparison: Comparison | None = None,
        method: Method = "auto",
    ) -> list[Hits]:
        """Return the answer of `search` to each query; a scan reads the codes once for all of them.

        ``limits_Q``: they differ in the excluded row only, and have no filter; or it raises ValueError.
        """
        if not limits_Q:
            return []
        first = limits_Q[0]
        if any((limits.k, limits.max_distance) != (first.k, first.max_distance) for limits in limits_Q):
            raise ValueError("queries of a batch have the same k and greatest distance")
        if any(limits.row_filter.kind != PASS_ALL for limits in limits_Q):
            raise ValueError("queries of a batch have no filter; search them one by one")
        comparison = self.checked(comparison, first)
        pairs = zip(codes_QY, limits_Q, strict=True)
        if len(self.part_bits) > 1:
            words = zip(self.words(codes_QY), limits_Q, strict=True)
            questions = [Question(query_W, comparison, limits) for query_W, limits in words]
            return self._answer_parts(questions, method)
        queries = [self._query(code_Y, limits, comparison) for code_Y, limits in pairs]
        answers = search_one_part_batch(self._kernels, queries, method, self._workers)
        return [_weighted(hits, comparison) for hits in answers]

    def heat(
        self,
        examples: Examples,
        boxes_N4: Floats,
        view: View,
        limits: Limits,
        *,
        comparison: Comparison | None = None,
        bit_weights: BitWeights | None = None,
    ) -> tuple[Scale, Heat]:
        """Return what lies in the cells of a view and how many rows lie at each distance; and their scale.

        Distances are those of `search`, of `search_values` with ``bit_weights``, and of `search_examples`
        with several examples. ``boxes_N4``: the box of each row, as of `Columns`. The limits' greatest
        distance is that of rows in cells [bits]; they have no k. Raises ValueError for a code of another
        length than the index's, or a comparison of other parts.
        """
        # rows may be nearer than 0 to several examples
        comparison = self.checked(comparison, replace(limits, max_distance=None))
        weights_K, unit = bit_weights or BitWeights(np.ones(self.bits, np.int64), 1)
        weights_B = np.zeros(self.arrays.codes_WN.shape[0] * 64, np.int64)
        weights_B[self._places_K] = weights_K[self.arrays.order_K] * np.repeat(
            comparison.weights, self.part_bits
        )
        words = (
            self.words(examples.positives_EY),
            self.words(examples.negatives_EY.reshape(-1, self.bits // 8)),
        )
        scale = scale_of(*words, weights_B, unit)
        farthest = scale.greatest if limits.farthest is None else limits.farthest * scale.unit
        excluded_X = np.array(limits.excluded_rows, np.int64)
        return scale, self._kernels.heat(scale, boxes_N4, view, farthest, excluded_X, limits.row_filter)

    def checked(self, comparison: Comparison | None, limits: Limits) -> Comparison:
        """Return the comparison; by default each bit counts once.

        Raises ValueError for a comparison of other parts, k below 1, or a negative distance.
        """
        k, max_distance = limits.k, limits.max_distance
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

    def _query(self, code_Y: Codes, limits: Limits, comparison: Comparison) -> Query:
        """Return a question about codes of one part."""
        k, farthest, excluded_row = limits.k, limits.farthest, limits.excluded_row
        limit = self.bits if farthest is None else min(farthest // comparison.weights[0], self.bits)
        return Query(
            limits.row_filter,
            self.words(code_Y[None]).T,
            ALL if k is None else k,
            limit,
            _NONE if farthest is None else limit,
            _NONE if excluded_row is None else excluded_row,
            _NONE if excluded_row is None else self._kernels.group_of(excluded_row),
        )


def _weighted(hits: Hits, comparison: Comparison) -> Hits:
    """Return the hits of a search of codes of one part, each bit of which counts as much as the part."""
    weight, tie_weight = comparison.weights[0], comparison.tie_weights[0]
    if weight == 1 and not tie_weight:
        return hits
    kth = hits.kth_distance
    return replace(
        hits,
        distances_K=hits.distances_K * weight,
        ties_K=hits.distances_K * tie_weight,
        kth_distance=None if kth is None else kth * weight,
    )
