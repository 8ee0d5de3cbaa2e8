"""Searching codes in parts, and codes whose bits have weights of their own: which way, and the answer.

Shapes: N rows, W words a code, V words of the first part, or blocks to visit, E planes of bit weights,
P parts, U groups of equal first parts, B blocks, C centres, R rows kept, K bits, or rows of an answer,
Q queries, S fields of a state.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.answer import Hits
from pipelines.hamming.arrays import IndexArrays
from pipelines.hamming.best import COMPARED, COUNT, GREATEST_KEY, WITHIN, Wanted, first_rows_kept, merged
from pipelines.hamming.bit_order import bit_places, words_of
from pipelines.hamming.block_scan import (
    keep_by_tables,
    order_blocks,
    scan_blocks,
    scan_selected,
    scan_together,
)
from pipelines.hamming.comparison import Comparison
from pipelines.hamming.found import ALL, TOGETHER, Int64s
from pipelines.hamming.groups import find_group
from pipelines.hamming.kernels import Words
from pipelines.hamming.selection import Plain, Selection, every_block, is_wide

MOST_BIT_WEIGHT = 15
"""Of a bit, where bits count differently."""
_PLANES = 4
_FEWEST_BLOCKS = 256  # below that a scan ends sooner than a thread starts
_BUDGET = 0.5  # of a scan of all rows
FEWEST_TOGETHER = 4
"""Queries of a batch that read blocks together."""
_MOST_TOGETHER = 16  # the more there are, the more bounds of blocks are held at once
_MOST_KEPT = 10_000  # rows of an answer for which room is made beforehand
_SHARE_ALONE = 32  # of the blocks one in so many, the nearest, is compared with each query alone before
_NONE = -1

Kept = tuple[Int64s, Int64s]
"""The state of a search, and what it has kept (`best`)."""


@dataclass(frozen=True)
class Question:
    """What is asked, checked."""

    query_W: Words
    comparison: Comparison
    k: int | None
    max_distance: int | None
    excluded_row: int | None
    selection: Selection
    bit_weights_K: NDArray[np.int64] | None = None
    """0..15, in the order of the index's bits; None: each counts once."""


@dataclass(frozen=True)
class Plan:
    """What does not change from query to query of one comparison."""

    masks_EW: Words
    weights_EW: Int64s
    own_W: Int64s
    others_W: Int64s
    others: int
    """These five as in `Asked`."""
    ties: int
    """How many ties there may be to a distance: keys are distance * ties + tie."""
    greatest: int
    """Key of a code from its opposite."""

    def asked(self, query_W: Words) -> Plain:
        """Return what kernels compare, the fields of `Asked`."""
        return query_W, self.masks_EW, self.weights_EW, self.own_W, self.others_W, self.others


def plan_of(
    part_bits: tuple[int, ...], comparison: Comparison, weights_K: NDArray[np.int64] | None = None
) -> Plan:
    """Return the plan; ``weights_K``: of each bit, 0..15, in the order of the index; None: each counts once.

    Raises ValueError where the weights together make keys too large.
    """
    words_P = [words_of([bits]) for bits in part_bits]
    if weights_K is None:
        sums, masks_EW = list(part_bits), np.full((1, sum(words_P)), ~np.uint64(0))
    else:
        ends = np.cumsum(part_bits)
        sums = [int(weights_K[end - bits : end].sum()) for end, bits in zip(ends, part_bits, strict=True)]
        masks_EW = _planes(part_bits, weights_K)
    key_weights = comparison.key_weights(sums)
    greatest = sum(weight * total for weight, total in zip(key_weights, sums, strict=True))
    if greatest > GREATEST_KEY:
        raise ValueError(f"the weights of {comparison} are too large together; take smaller ones")
    weights_W = np.repeat(key_weights, words_P)
    counting_W = np.flatnonzero(weights_W)
    own_W, others_W = counting_W[counting_W < words_P[0]], counting_W[counting_W >= words_P[0]]
    return Plan(
        masks_EW,
        np.ascontiguousarray(weights_W * (1 << np.arange(len(masks_EW)))[:, None]),
        counting_W,
        np.concatenate([others_W, own_W]),
        len(others_W),
        comparison.ties(sums),
        greatest,
    )


def search_parts(
    arrays: IndexArrays,
    question: Question,
    plan: Plan,
    method: Literal["auto", "scan", "mih"],
    pool: ThreadPoolExecutor,
    threads: int,
) -> Hits:
    """Return the answer."""
    wanted, asked = _wanted(question, plan), plan.asked(question.query_W)
    if method != "scan" and _first_part_decides(arrays, question):
        wide = not question.selection.verdicts_B.size or is_wide(question.selection)
        if method == "mih" or wide:
            kept = _by_tables(arrays, question, asked, wanted, ALL if method == "mih" else _BUDGET)
            if kept is not None:
                return _hits(arrays, question, plan, kept, "mih")
    kept = merged(_by_scan(arrays, question, asked, wanted, pool, threads), wanted.k)
    return _hits(arrays, question, plan, kept, "scan")


def search_parts_together(
    arrays: IndexArrays, questions: list[Question], plan: Plan, pool: ThreadPoolExecutor, threads: int
) -> list[Hits]:
    """Return the answers to questions that differ in query and excluded row only, by a scan.

    They are answered in groups: of a group each query first compares the blocks nearest to it, which brings
    its limit down. Then each block is read once for all queries that may find something in it.
    """
    size = min(_MOST_TOGETHER, -(-len(questions) // threads))
    groups = [questions[first : first + size] for first in range(0, len(questions), size)]
    kept = [
        one for some in pool.map(lambda group: _scan_together(arrays, group, plan), groups) for one in some
    ]
    return [_hits(arrays, question, plan, one, "scan") for question, one in zip(questions, kept, strict=True)]


def can_search_together(arrays: IndexArrays, questions: list[Question]) -> bool:
    """Return whether `search_parts_together` takes the questions, and is the quicker way."""
    first = questions[0]
    is_bounded = first.k is not None and first.k <= _MOST_KEPT
    return bool(
        is_bounded
        and arrays.blocks.rows_U.size
        and len(questions) >= FEWEST_TOGETHER
        and not _first_part_decides(arrays, first)
    )


def _scan_together(arrays: IndexArrays, questions: list[Question], plan: Plan) -> list[Kept]:
    """Return what a group of questions keeps, each as if it had been asked alone."""
    blocks, k = arrays.blocks, questions[0].k or 0
    layout = (blocks.codes_WU, blocks.rows_U, blocks.starts_B, arrays.ranks_N)
    selection = tuple(questions[0].selection)
    wanted = [_wanted(question, plan) for question in questions]
    bounds, middles, states = [], [], []
    items_QR2 = np.empty((len(questions), k + max(k, TOGETHER), 2), np.int64)
    for place, question in enumerate(questions):
        asked = plan.asked(question.query_W)
        blocks_V, bounds_B, middles_B = _visits(arrays, question, asked)
        nearest_V = blocks_V[: 1 + len(blocks_V) // _SHARE_ALONE]
        visits = (nearest_V, bounds_B, middles_B)
        state, items_R2 = scan_blocks(layout, visits, asked, tuple(wanted[place]), selection)
        items_QR2[place, : state[COUNT]] = items_R2[: state[COUNT]]
        bounds_B[nearest_V] = GREATEST_KEY + 1  # they are done
        bounds.append(bounds_B)
        middles.append(middles_B)
        states.append(state)
    states_QS = np.stack(states)
    queries_QW = np.stack([question.query_W for question in questions])
    excluded_Q = np.array([one.excluded_row for one in wanted])
    scan_together(
        layout,
        (np.stack(bounds), np.stack(middles)),
        (queries_QW, excluded_Q),
        plan.asked(queries_QW[0]),
        tuple(wanted[0]),
        selection,
        (states_QS, items_QR2),
    )
    return list(zip(states_QS, items_QR2, strict=True))


def _wanted(question: Question, plan: Plan) -> Wanted:
    limit = plan.greatest
    if question.max_distance is not None:
        limit = min(limit, (question.max_distance + 1) * plan.ties - 1)
    return Wanted(
        ALL if question.k is None else question.k,
        limit,
        _NONE if question.max_distance is None else limit,
        _NONE if question.excluded_row is None else question.excluded_row,
    )


def _hits(
    arrays: IndexArrays, question: Question, plan: Plan, kept: Kept, method: Literal["scan", "mih"]
) -> Hits:
    state, items_R2 = kept
    k = ALL if question.k is None else question.k
    words_P = -(-arrays.part_bits_P // 64)
    rows_K, keys_K, parts_KP, tied = first_rows_kept(
        state, items_R2, k, arrays.codes_WN, question.query_W, words_P
    )
    distances_K = keys_K // plan.ties
    return Hits(
        rows_K,
        distances_K,
        keys_K - distances_K * plan.ties,
        parts_KP,
        int(distances_K[-1]) if rows_K.size else None,
        int(tied),
        None if question.max_distance is None else int(state[WITHIN]),
        method,
        int(state[COMPARED]),
    )


def _first_part_decides(arrays: IndexArrays, question: Question) -> bool:
    """Return whether the distance is that of the first part, and there are tables for it."""
    parts = arrays.part_bits_P.size
    alone = question.bit_weights_K is None and not any(question.comparison.weights[1:])
    return bool(parts > 1 and alone and arrays.tables.starts_TP.size)


def part_distances(codes_WK: Words, query_W: Words, part_bits: tuple[int, ...]) -> Int64s:
    """Return the Hamming distance of each part of some codes, distances_KP."""
    counts_WK = np.bitwise_count(codes_WK ^ query_W[:, None]).astype(np.int64)
    starts = np.cumsum([0, *(words_of([bits]) for bits in part_bits)])
    return np.stack([counts_WK[first:last].sum(axis=0) for first, last in pairwise(starts)], axis=1)


def _planes(part_bits: tuple[int, ...], weights_K: NDArray[np.int64]) -> Words:
    """Return masks_EW: plane e holds the bits whose weights have 2^e in them."""
    bits_EB = np.zeros((_PLANES, words_of(part_bits) * 64), np.uint8)
    bits_EB[:, bit_places(part_bits)] = (weights_K >> np.arange(_PLANES)[:, None]) & 1
    return np.packbits(bits_EB, axis=1).view(">u8").astype(np.uint64)


def _by_tables(
    arrays: IndexArrays, question: Question, asked: Plain, wanted: Wanted, share: float
) -> Kept | None:
    """Search by multi-index hashing of the first part; None where that costs over a ``share`` of a scan."""
    weight, bits = question.comparison.weights[0], int(arrays.part_bits_P[0])
    codes_VU = arrays.groups.codes_WU
    farthest = bits if question.max_distance is None else min(bits, question.max_distance // weight)
    excluded_group = _NONE
    if question.excluded_row is not None:
        code_V = np.ascontiguousarray(arrays.codes_WN[: len(codes_VU), question.excluded_row])
        excluded_group = int(find_group(codes_VU, code_V, 0, codes_VU.shape[1]))
    radius = _NONE if question.max_distance is None else farthest
    words_V1 = np.ascontiguousarray(question.query_W[: len(codes_VU), None])
    state, items_R2, finished = keep_by_tables(
        (tuple(arrays.groups), tuple(arrays.tables), arrays.substring_bits, arrays.codes_WN, arrays.ranks_N),
        (words_V1, wanted.k, farthest, radius, wanted.excluded_row, excluded_group),
        (bits, ALL if share == ALL else int(share * arrays.codes_WN.shape[1])),
        asked,
        tuple(wanted),
        tuple(question.selection),
    )
    return (state, items_R2) if finished else None


def _by_scan(
    arrays: IndexArrays,
    question: Question,
    asked: Plain,
    wanted: Wanted,
    pool: ThreadPoolExecutor,
    threads: int,
) -> list[Kept]:
    """Compare what can be near, block by block; of a narrow selection its rows."""
    blocks, selection = arrays.blocks, question.selection
    if not blocks.rows_U.size or (selection.verdicts_B.size and not is_wide(selection)):
        if not selection.verdicts_B.size:
            selection = every_block(arrays.codes_WN.shape[1])
        return [scan_selected(arrays.codes_WN, arrays.ranks_N, asked, tuple(wanted), tuple(selection))]
    blocks_V, bounds_B, middles_B = _visits(arrays, question, asked)
    layout = (blocks.codes_WU, blocks.rows_U, blocks.starts_B, arrays.ranks_N)
    parts = threads if blocks_V.size >= _FEWEST_BLOCKS else 1

    def scan(part: int) -> Kept:
        visits = (np.ascontiguousarray(blocks_V[part::parts]), bounds_B, middles_B)
        return scan_blocks(layout, visits, asked, tuple(wanted), tuple(selection))

    return list(pool.map(scan, range(parts))) if parts > 1 else [scan(0)]


def _visits(arrays: IndexArrays, question: Question, asked: Plain) -> tuple[Int64s, Int64s, Int64s]:
    """Return blocks_V, the nearest first; of each the least that its first parts add to a key; about what."""
    blocks, bits = arrays.blocks, int(arrays.part_bits_P[0])
    weight = int(asked[2][0, 0])  # of the first part in a key
    if question.bit_weights_K is None:
        known = (blocks.centres_B, blocks.nearest_B, blocks.farthest_B)
        return order_blocks(blocks.centres_CV, known, question.query_W, weight, bits)
    different_CV = blocks.centres_CV ^ question.query_W[: blocks.centres_CV.shape[1]]
    bits_CK = np.unpackbits(different_CV.astype(">u8").view(np.uint8), axis=1)[:, :bits]
    # a row differs from its centre in some bits, at most, and each may take away one difference
    falling_CK = -np.sort(-(bits_CK * question.bit_weights_K[:bits]), axis=1)
    left_CK = np.pad(np.flip(np.flip(falling_CK, 1).cumsum(1), 1), ((0, 0), (0, 1))) * weight
    bounds_B = left_CK[blocks.centres_B, np.minimum(blocks.farthest_B, bits)]
    return np.argsort(bounds_B, kind="stable"), bounds_B, left_CK[blocks.centres_B, 0]
