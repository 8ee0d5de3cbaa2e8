"""Calls of compiled kernels with named types: the one place where these become plain tuples, and back.

numba takes as long to unwrap a named tuple as eight arrays, and hardly any time to unwrap a plain one. So the
kernels that Python calls take and return plain tuples. What never changes in an index is made plain once.

Shapes: N rows, W words a code, V words of the first part, Q queries, M items, P parts, B blocks, C centres, K
rows of an answer, S fields of a state, R kept rows, X excluded rows.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.hamming.answer import Answer, answer_by_rows, answer_by_tables, answer_from_groups
from pipelines.hamming.arrays import IndexArrays
from pipelines.hamming.best import FirstRows, Kept, Wanted, first_rows_kept
from pipelines.hamming.bit_order import words_of
from pipelines.hamming.block_scan import (
    BatchState,
    Visits,
    keep_by_tables,
    order_blocks,
    scan_blocks,
    scan_selected,
    scan_together,
)
from pipelines.hamming.groups import find_group
from pipelines.hamming.heat import Heat, Scale, View, heat_of_rows
from pipelines.hamming.jit import Int64s, Plain, Words
from pipelines.hamming.multi_index import Query
from pipelines.hamming.near import Asked
from pipelines.hamming.row_filter import EVERY_ROW, PASS_ALL, Floats, RowFilter, every_row_in_blocks
from pipelines.hamming.scan import scan_groups
from pipelines.hamming.top_k import TopK


class Kernels:
    """The kernels of one index. All release the GIL."""

    def __init__(self, arrays: IndexArrays) -> None:
        self.arrays = arrays
        self.part_bits: tuple[int, ...] = tuple(arrays.part_bits_P.tolist())
        self.bits = sum(self.part_bits)
        blocks, shared = arrays.blocks, (tuple(arrays.groups), tuple(arrays.tables), arrays.substring_bits)
        self._one_part = (*shared, arrays.ranks_N)
        self._first_part = (*shared, arrays.codes_WN, arrays.ranks_N)
        self._layout = blocks.codes_WU, blocks.rows_U, blocks.starts_B, arrays.ranks_N
        self._spread = blocks.centres_B, blocks.nearest_B, blocks.farthest_B
        self._words_P = np.array([words_of([bits]) for bits in self.part_bits])

    def group_of(self, row: int) -> int:
        """Return the group of a row."""
        codes_WU = self.arrays.groups.codes_WU
        code_W = np.ascontiguousarray(self.arrays.codes_WN[: len(codes_WU), row])
        return int(find_group(codes_WU, code_W, 0, codes_WU.shape[1]))

    def answer_by_tables(self, query: Query, budget: int) -> Answer:
        """Answer by multi-index hashing, for codes of one part; ``budget`` as of `search_tables`."""
        plain = answer_by_tables(self._one_part, query[1:], _plain(query.row_filter), self.bits, budget)
        return Answer._make(plain)

    def answer_by_rows(self, query: Query, limit: int) -> Answer:
        """Answer by comparing the rows that may pass the query's filter, for codes of one part."""
        arrays, row_filter = self.arrays, _plain(query.row_filter)
        return Answer._make(
            answer_by_rows(arrays.codes_WN, arrays.ranks_N, query[1:], row_filter, limit, self.bits)
        )

    def scan_groups(self, run: tuple[int, int], queries: Sequence[Query], limit: int) -> tuple[TopK, Int64s]:
        """Compare groups from the first of ``run`` to its end with queries of one part, k and radius.

        Returns the state and items_M3, (query, distance, group).
        """
        first = queries[0]
        queries_QW = np.concatenate([query.words_W1.T for query in queries])
        excluded_Q = np.array([query.excluded_group for query in queries])
        limits = first.k, limit, first.radius, self.bits
        return scan_groups(self._one_part[0], run, queries_QW, excluded_Q, limits)

    def answer_from_groups(self, query: Query, limit: int, items_M3: Int64s) -> tuple[Int64s, Int64s]:
        """Return rows_K and distances_K of the groups within ``limit`` that a scan has found for a query."""
        ranks_N = self.arrays.ranks_N
        return answer_from_groups(self._one_part[0], ranks_N, items_M3, limit, query.k, query.excluded_row)

    def order_blocks(self, query_W: Words, weight: int) -> Visits:
        """Return the blocks, the nearest first; ``weight``: of the first part in a key."""
        centres_CV = self.arrays.blocks.centres_CV
        return Visits._make(order_blocks(centres_CV, self._spread, query_W, weight, self.part_bits[0]))

    def scan_blocks(self, visits: Visits, asked: Asked, wanted: Wanted, row_filter: RowFilter) -> Kept:
        """Compare blocks of codes in parts."""
        plain = tuple(visits), tuple(asked), tuple(wanted), _plain(row_filter)
        return Kept._make(scan_blocks(self._layout, *plain))

    def scan_together(self, batch: BatchState, asked: Asked, wanted: Wanted, row_filter: RowFilter) -> None:
        """Compare each block of codes in parts with several queries, which ``batch`` has."""
        scan_together(self._layout, tuple(batch), tuple(asked), tuple(wanted), _plain(row_filter))

    def scan_selected(self, asked: Asked, wanted: Wanted, row_filter: RowFilter) -> Kept:
        """Compare the rows of codes in parts that may pass a filter, whose blocks must be listed."""
        arrays, plain = self.arrays, (tuple(asked), tuple(wanted), _plain(row_filter))
        return Kept._make(scan_selected(arrays.codes_WN, arrays.ranks_N, *plain))

    def keep_by_tables(self, query: Query, budget: int, asked: Asked, wanted: Wanted) -> Kept | None:
        """Search the first part by multi-index hashing; None where that costs more than ``budget``."""
        limits, row_filter = (self.part_bits[0], budget), _plain(query.row_filter)
        state_S, items_R2, is_finished = keep_by_tables(
            self._first_part, query[1:], limits, tuple(asked), tuple(wanted), row_filter
        )
        return Kept(state_S, items_R2) if is_finished else None

    def heat(
        self,
        scale: Scale,
        boxes_N4: Floats,
        view: View,
        farthest: int,
        excluded_X: Int64s,
        row_filter: RowFilter,
    ) -> Heat:
        """Count the rows that pass a filter, by cell and by distance; ``farthest``: in cells [units]."""
        if row_filter.kind == PASS_ALL:
            row_filter = every_row_in_blocks(self.arrays.codes_WN.shape[1])
        lowest, highest = (-(-distance // scale.unit) for distance in (scale.least, scale.greatest))
        bounds, plain = (scale.unit, farthest, lowest, highest), (tuple(view), excluded_X, _plain(row_filter))
        found = heat_of_rows(self.arrays.codes_WN, boxes_N4, scale.tables_TV, bounds, *plain)
        return Heat(found[0], found[1], lowest, found[2])

    def first_rows(self, kept: Kept, k: int, query_W: Words) -> FirstRows:
        """Return the first k of the kept rows in order."""
        plain = first_rows_kept(*kept, k, self.arrays.codes_WN, query_W, self._words_P)
        return FirstRows._make(plain)


def _nested(row_filter: RowFilter) -> Plain:
    kind, verdicts_B, blocks_B, columns, criteria, bits_S, rows = row_filter
    return kind, verdicts_B, blocks_B, tuple(columns), tuple(criteria), bits_S, rows


_EVERY_ROW = _nested(EVERY_ROW)


def _plain(row_filter: RowFilter) -> Plain:
    """Return the fields of a filter, those of its fields that are named tuples made plain too."""
    return _EVERY_ROW if row_filter is EVERY_ROW else _nested(row_filter)
