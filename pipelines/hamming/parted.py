"""Searching codes in parts, and codes whose bits have weights of their own.

The way that is faster is chosen: multi-index hashing of the first part where it alone makes the distance, a
scan of blocks, or a scan of the rows that may pass a narrow filter.

Shapes: W words a code, V words of the first part, or blocks to visit, E planes of bit weights, P parts, B
blocks, C centres, R rows kept, K bits, or rows of an answer, Q queries, S fields of a state.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.answer import Hits
from pipelines.hamming.best import COMPARED, COUNT, GREATEST_KEY, WITHIN, Kept, Wanted, merge
from pipelines.hamming.bit_order import bit_places, words_of
from pipelines.hamming.block_scan import BatchState, Visits
from pipelines.hamming.comparison import Comparison
from pipelines.hamming.jit import Int64s, Words
from pipelines.hamming.kernel_calls import Kernels
from pipelines.hamming.limits import Limits
from pipelines.hamming.multi_index import Query
from pipelines.hamming.near import Asked
from pipelines.hamming.one_part import Method, Workers
from pipelines.hamming.row_filter import PASS_ALL, every_row_in_blocks, is_wide
from pipelines.hamming.top_k import ALL, TOGETHER

MOST_BIT_WEIGHT = 15
"""Of a bit, where bits count differently."""
_PLANES = 4
_FEWEST_BLOCKS = 256  # a scan of fewer ends sooner than a thread starts
_BUDGET = 0.5  # of multi-index hashing, as a share of a scan of all rows
FEWEST_TOGETHER = 4
"""Queries of a batch that read blocks together; fewer are answered one by one."""
_MOST_TOGETHER = 16  # queries; for each of them the bounds of all blocks are in memory
_MOST_KEPT = 10_000  # rows of an answer; the memory for them is allocated at the start
_SHARE_ALONE = 32  # each query is first compared alone with the nearest blocks, one in 32
_NONE = -1


@dataclass(frozen=True)
class Question:
    """One question about codes in parts, its values checked."""

    query_W: Words
    comparison: Comparison
    limits: Limits
    bit_weights_K: NDArray[np.int64] | None = None
    """0..15, in the order of the index's bits; None: each counts once."""


@dataclass(frozen=True)
class Plan:
    """What is the same for all queries of one comparison."""

    masks_EW: Words
    weights_EW: Int64s
    own_W: Int64s
    others_W: Int64s
    others: int
    """These five as in `Asked`."""
    ties: int
    """How many ties a distance may have: a key is distance * ties + tie."""
    greatest: int
    """The greatest key: that of a code all of whose bits differ from the query's."""

    def asked(self, query_W: Words) -> Asked:
        """Return how codes are compared with a query."""
        return Asked(query_W, self.masks_EW, self.weights_EW, self.own_W, self.others_W, self.others)


def plan_of(
    part_bits: tuple[int, ...], comparison: Comparison, weights_K: NDArray[np.int64] | None = None
) -> Plan:
    """Return the plan; ``weights_K``: of each bit, 0..15, in the order of the index; None: each counts once.

    Raises ValueError if the weights together make keys too large.
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


def search_parts(kernels: Kernels, question: Question, plan: Plan, method: Method, workers: Workers) -> Hits:
    """Return the answer."""
    wanted, asked, row_filter = (
        _wanted(question, plan),
        plan.asked(question.query_W),
        question.limits.row_filter,
    )
    if method != "scan" and _first_part_decides(kernels, question):
        is_narrow = row_filter.kind != PASS_ALL and not is_wide(row_filter)
        if method == "mih" or not is_narrow:
            kept = _by_tables(kernels, question, asked, wanted, ALL if method == "mih" else _BUDGET)
            if kept is not None:
                return _hits(kernels, question, plan, kept, "mih")
    kept = merge(_by_scan(kernels, question, asked, wanted, workers), wanted.k)
    return _hits(kernels, question, plan, kept, "scan")


def search_parts_together(
    kernels: Kernels, questions: list[Question], plan: Plan, workers: Workers
) -> list[Hits]:
    """Return the answers to questions that differ in query and excluded row only, by a scan.

    They are answered in groups. Each query of a group is first compared with the blocks nearest to it, which
    brings its limit down. Then each block is read once for all queries that may find something in it.
    """
    size = min(_MOST_TOGETHER, -(-len(questions) // workers.threads))
    groups = [questions[first : first + size] for first in range(0, len(questions), size)]
    done = workers.pool.map(lambda group: _scan_together(kernels, group, plan), groups)
    kept = [one for some in done for one in some]
    return [
        _hits(kernels, question, plan, one, "scan") for question, one in zip(questions, kept, strict=True)
    ]


def can_search_together(kernels: Kernels, questions: list[Question]) -> bool:
    """Return whether `search_parts_together` takes the questions, and is the faster way."""
    first = questions[0]
    is_bounded = first.limits.k is not None and first.limits.k <= _MOST_KEPT
    return bool(
        is_bounded
        and kernels.arrays.blocks.rows_U.size
        and len(questions) >= FEWEST_TOGETHER
        and not _first_part_decides(kernels, first)
    )


def _scan_together(kernels: Kernels, questions: list[Question], plan: Plan) -> list[Kept]:
    """Return what each of a group of questions keeps, the same as if it had been asked alone."""
    k, row_filter = questions[0].limits.k or 0, questions[0].limits.row_filter
    wanted = [_wanted(question, plan) for question in questions]
    bounds, middles, states = [], [], []
    items_QR2 = np.empty((len(questions), k + max(k, TOGETHER), 2), np.int64)
    for place, question in enumerate(questions):
        asked = plan.asked(question.query_W)
        visits = _visits(kernels, question, asked)
        nearest_V = visits.blocks_V[: 1 + len(visits.blocks_V) // _SHARE_ALONE]
        state_S, items_R2 = kernels.scan_blocks(
            visits._replace(blocks_V=nearest_V), asked, wanted[place], row_filter
        )
        items_QR2[place, : state_S[COUNT]] = items_R2[: state_S[COUNT]]
        visits.bounds_B[nearest_V] = GREATEST_KEY + 1  # they are done
        bounds.append(visits.bounds_B)
        middles.append(visits.middles_B)
        states.append(state_S)
    batch = BatchState(
        np.stack([question.query_W for question in questions]),
        np.array([one.excluded_row for one in wanted]),
        np.stack(bounds),
        np.stack(middles),
        np.stack(states),
        items_QR2,
    )
    kernels.scan_together(batch, plan.asked(batch.words_QW[0]), wanted[0], row_filter)
    return [Kept(*kept) for kept in zip(batch.states_QS, batch.items_QR2, strict=True)]


def _wanted(question: Question, plan: Plan) -> Wanted:
    limit = plan.greatest
    if question.limits.farthest is not None:
        limit = min(limit, (question.limits.farthest + 1) * plan.ties - 1)
    return Wanted(
        ALL if question.limits.k is None else question.limits.k,
        limit,
        _NONE if question.limits.farthest is None else limit,
        _NONE if question.limits.excluded_row is None else question.limits.excluded_row,
    )


def _hits(
    kernels: Kernels, question: Question, plan: Plan, kept: Kept, method: Literal["scan", "mih"]
) -> Hits:
    first = kernels.first_rows(
        kept, ALL if question.limits.k is None else question.limits.k, question.query_W
    )
    distances_K = first.keys_K // plan.ties
    return Hits(
        first.rows_K,
        distances_K,
        first.keys_K - distances_K * plan.ties,
        first.part_distances_KP,
        int(distances_K[-1]) if distances_K.size else None,
        int(first.tied),
        None if question.limits.farthest is None else int(kept.state_S[WITHIN]),
        method,
        int(kept.state_S[COMPARED]),
    )


def _first_part_decides(kernels: Kernels, question: Question) -> bool:
    """Return whether the distance is that of the first part alone, and there are tables for this part."""
    alone = question.bit_weights_K is None and not any(question.comparison.weights[1:])
    return bool(len(kernels.part_bits) > 1 and alone and kernels.arrays.tables.starts_TP.size)


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
    kernels: Kernels, question: Question, asked: Asked, wanted: Wanted, share: float
) -> Kept | None:
    """Search by multi-index hashing of the first part; None if that costs over a ``share`` of a scan."""
    arrays, weight, bits = kernels.arrays, question.comparison.weights[0], kernels.part_bits[0]
    farthest = bits if question.limits.farthest is None else min(bits, question.limits.farthest // weight)
    query = Query(
        question.limits.row_filter,
        np.ascontiguousarray(question.query_W[: len(arrays.groups.codes_WU), None]),
        wanted.k,
        farthest,
        _NONE if question.limits.farthest is None else farthest,
        wanted.excluded_row,
        _NONE if question.limits.excluded_row is None else kernels.group_of(question.limits.excluded_row),
    )
    budget = ALL if share == ALL else int(share * arrays.codes_WN.shape[1])
    return kernels.keep_by_tables(query, budget, asked, wanted)


def _by_scan(
    kernels: Kernels, question: Question, asked: Asked, wanted: Wanted, workers: Workers
) -> list[Kept]:
    """Compare block by block what can be near; with a narrow filter only the rows that may pass it."""
    arrays, row_filter = kernels.arrays, question.limits.row_filter
    if row_filter.kind != PASS_ALL and not is_wide(row_filter):
        return [kernels.scan_selected(asked, wanted, row_filter)]
    if not arrays.blocks.rows_U.size:
        if row_filter.kind == PASS_ALL:
            row_filter = every_row_in_blocks(arrays.codes_WN.shape[1])
        return [kernels.scan_selected(asked, wanted, row_filter)]
    visits = _visits(kernels, question, asked)
    parts = workers.threads if visits.blocks_V.size >= _FEWEST_BLOCKS else 1

    def scan(part: int) -> Kept:
        blocks_V = np.ascontiguousarray(visits.blocks_V[part::parts])
        return kernels.scan_blocks(visits._replace(blocks_V=blocks_V), asked, wanted, row_filter)

    return workers.run(scan, range(parts))


def _visits(kernels: Kernels, question: Question, asked: Asked) -> Visits:
    """Return the blocks, the nearest first, and what is known of each."""
    blocks, bits = kernels.arrays.blocks, kernels.part_bits[0]
    weight = int(asked.weights_EW[0, 0])  # of the first part in a key
    if question.bit_weights_K is None:
        return kernels.order_blocks(question.query_W, weight)
    different_CV = blocks.centres_CV ^ question.query_W[: blocks.centres_CV.shape[1]]
    bits_CK = np.unpackbits(different_CV.astype(">u8").view(np.uint8), axis=1)[:, :bits]
    # a row differs from its centre in at most farthest_B bits, and each may take away one difference
    falling_CK = -np.sort(-(bits_CK * question.bit_weights_K[:bits]), axis=1)
    left_CK = np.pad(np.flip(np.flip(falling_CK, 1).cumsum(1), 1), ((0, 0), (0, 1))) * weight
    bounds_B = left_CK[blocks.centres_B, np.minimum(blocks.farthest_B, bits)]
    return Visits(np.argsort(bounds_B, kind="stable"), bounds_B, left_CK[blocks.centres_B, 0])
