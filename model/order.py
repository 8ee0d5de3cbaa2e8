"""Figures of codes besides those of classes: order, neighbours, ties, turned views and places.

Shapes: Q queries, B queries of a block, N rows that are searched, F features, Y bytes a code.

Every figure is an expectation over all orders of tied rows, in closed form. For the first k rows of a list,
let s rows be nearer than the k-th distance and n rows be tied at it. Then each of the n is among the first k
with the probability (k - s) / n. If two lists are compared, their orders of ties are independent.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.baselines import Features, unit_length_32
from model.codes import Codes, weighted_words
from model.retrieval import Labels, relevant_rows
from model.spec import CodeSpec, Compare

NEAREST = 10
"""How many first rows the figures look at."""
KEPT_WITHIN = 100
"""Neighbours by features count as kept if they are among this many first rows by code."""

_PAIRS = 1 << 22  # distances held at a time
_DECIMALS = 6  # of a cosine: further ones are rounding errors of float32

Block = NDArray[np.float32]


@dataclass(frozen=True)
class Lists:
    """The distances of rows from queries, computed for a block of queries at a time."""

    queries: int
    rows: int
    distances: Callable[[slice], Block]
    """Returns the distances_BN of a slice of the queries from all rows; smaller is nearer."""

    def blocks(self) -> Iterator[slice]:
        """Yield the queries in blocks, so that memory holds some four million distances."""
        step = max(1, _PAIRS // max(1, self.rows))
        for start in range(0, self.queries, step):
            yield slice(start, min(start + step, self.queries))


def code_lists(
    queries_QY: Codes, codes_NY: Codes, code: CodeSpec | None = None, compare: Compare = "both"
) -> Lists:
    """Return the lists by distance between codes; without ``code`` each bit counts once.

    Raises ValueError if the codes have another length than the spec, or lack the part.
    """
    queries_QW, weights_W = weighted_words(queries_QY, code, compare)
    words_WN = np.ascontiguousarray(weighted_words(codes_NY, code, compare)[0].T)

    def distances(block: slice) -> Block:
        total_BN = np.zeros((block.stop - block.start, words_WN.shape[1]), np.float32)
        for queries_B, words_N, weight in zip(queries_QW[block].T, words_WN, weights_W, strict=True):
            total_BN += np.float32(weight) * np.bitwise_count(queries_B[:, None] ^ words_N)
        return total_BN

    return Lists(len(queries_QY), len(codes_NY), distances)


def cosine_lists(queries_QF: Features, features_NF: Features) -> Lists:
    """Return the lists by cosine similarity, highest first; similarities equal to six decimals are tied."""
    queries_QF, features_FN = unit_length_32(queries_QF), unit_length_32(features_NF).T

    def distances(block: slice) -> Block:
        return np.asarray(np.round(1 - queries_QF[block] @ features_FN, _DECIMALS), np.float32)

    return Lists(len(queries_QF), features_FN.shape[1], distances)


@dataclass(frozen=True)
class OrderFigures:
    """How well lists keep the order of the float features: means over the queries."""

    in_class_recall10: float | None
    """Of the ten nearest chips of the query's own class by float cosine, the share among the ten nearest of
    its own class in these lists, 0..1. Queries with ten or fewer others of their class are left out: all of
    these are among the ten nearest. None: all queries are left out."""
    kept_recall10: float | None
    """Of the ten nearest chips by float cosine, the share among the first hundred of these lists, 0..1. None:
    there are at most a hundred other chips."""
    tied10: float | None
    """Chips at the distance of the tenth, itself included: median over the queries. None: there are fewer
    than ten other chips."""


def order_figures(cosine: Lists, labels_N: Labels, compared: Sequence[Lists]) -> list[OrderFigures]:
    """Compare lists with the list by cosine. Each of the N chips is the query in turn, left out of its list.

    ``labels_N`` are class ids, or multi-hot labels_NC: two chips that share a label are of one class.
    """
    in_class: list[list[Block]] = [[] for _ in compared]
    kept: list[list[Block]] = [[] for _ in compared]
    tied: list[list[NDArray[np.int64]]] = [[] for _ in compared]
    for block in cosine.blocks():
        cosine_BN = _others(cosine, block)
        own_class_BN = np.stack([relevant_rows(labels_N, label) for label in labels_N[block]])
        own_class_BN[np.arange(len(own_class_BN)), np.arange(block.start, block.stop)] = False
        enough_B = own_class_BN.sum(axis=1) > NEAREST
        for number, lists in enumerate(compared):
            distances_BN = _others(lists, block)
            if enough_B.any():
                pair = (_within(x_BN, own_class_BN, enough_B) for x_BN in (cosine_BN, distances_BN))
                in_class[number].append(_overlap(*pair))
            if cosine.rows - 1 > KEPT_WITHIN:
                kept[number].append(
                    _overlap(first_share(cosine_BN, NEAREST), first_share(distances_BN, KEPT_WITHIN))
                )
            if cosine.rows - 1 >= NEAREST:
                tied[number].append(_tied_at(distances_BN, NEAREST))
    return [
        OrderFigures(
            _mean(in_class[number]),
            _mean(kept[number]),
            float(np.median(np.concatenate(tied[number]))) if tied[number] else None,
        )
        for number in range(len(compared))
    ]


def shared_nearest(first: Lists, second: Lists, k: int = NEAREST) -> NDArray[np.float64]:
    """Return share_Q: the share of the first k rows that a chip's two lists have in common, 0..1.

    Each chip is the query in turn and left out of its lists. Raises ValueError if there are fewer than k
    other chips.
    """
    shares = [
        _overlap(*(first_share(_others(lists, block), k) for lists in (first, second)))
        for block in first.blocks()
    ]
    return np.concatenate([*shares, np.empty(0)]).astype(np.float64)


def first_share(distances_BN: Block, k: int) -> Block:
    """Return share_BN: the probability that a row is among the first k of the query's list.

    Raises ValueError if there are fewer than k rows.
    """
    if distances_BN.shape[1] < k:
        raise ValueError(f"the first {k} of {distances_BN.shape[1]} rows")
    cut_B1 = np.partition(distances_BN, k - 1, axis=1)[:, k - 1 : k]
    nearer_BN, tied_BN = distances_BN < cut_B1, distances_BN == cut_B1
    chance_B = (k - nearer_BN.sum(axis=1)) / tied_BN.sum(axis=1)
    return np.asarray(nearer_BN + tied_BN * chance_B[:, None], np.float32)


def found_share(lists: Lists, rows_Q: NDArray[np.integer], k: int) -> float:
    """Return the probability that a query's row is among the first k of its list: mean over the queries.

    ``rows_Q`` names a row for each query: for a chip that is turned by 90 degrees, that of the same chip as
    it is. It isn't left out of the list.
    """
    shares = []
    for block in lists.blocks():
        distances_BN = lists.distances(block)
        own_B1 = np.take_along_axis(distances_BN, rows_Q[block, None], axis=1)
        nearer_B = (distances_BN < own_B1).sum(axis=1)
        shares.append(np.clip((k - nearer_B) / (distances_BN == own_B1).sum(axis=1), 0, 1))
    return float(np.concatenate(shares).mean())


def place_recall(
    lists: Lists, places_N: NDArray[np.integer], dates_N: NDArray[np.integer], k: int = NEAREST
) -> float | None:
    """Return the probability that at least one of the first k rows is the query's place at another date.

    Each of the N chips is the query in turn and left out of its list. The figure is the mean over the chips
    whose place is there at another date. None: there are none.

    With s and n as in this module's formula, m = k - s of the n tied rows are among the first k. If r of the
    n are right, the probability that none of the m is right is (n - r) (n - r - 1) ... (n - r - m + 1) / (n
    (n - 1) ... (n - m + 1)).
    """
    chances = []
    for block in lists.blocks():
        distances_BN = _others(lists, block)
        right_BN = (places_N[block, None] == places_N) & (dates_N[block, None] != dates_N)
        asked_B = right_BN.any(axis=1)
        for distances_N, right_N in zip(distances_BN[asked_B], right_BN[asked_B], strict=True):
            chances.append(_chance_of_one(distances_N, right_N, k))
    return float(np.mean(chances)) if chances else None


def _chance_of_one(distances_N: Block, right_N: NDArray[np.bool_], k: int) -> float:
    """Return the probability that at least one of the first k rows is right, for one query."""
    k = min(k, len(distances_N) - 1)  # the query itself is the last row: its distance is infinite
    cut = np.partition(distances_N, k - 1)[k - 1]
    nearer_N, tied_N = distances_N < cut, distances_N == cut
    if (nearer_N & right_N).any():
        return 1.0
    places, tied, right = k - int(nearer_N.sum()), int(tied_N.sum()), int((tied_N & right_N).sum())
    place_M = np.arange(places)
    return float(1 - np.prod(np.maximum(tied - right - place_M, 0) / (tied - place_M)))


def _others(lists: Lists, block: slice) -> Block:
    """Return distances_BN of chips from each other; that from itself is infinite."""
    distances_BN = lists.distances(block)
    distances_BN[np.arange(len(distances_BN)), np.arange(block.start, block.stop)] = np.inf
    return distances_BN


def _within(distances_BN: Block, allowed_BN: NDArray[np.bool_], chosen_B: NDArray[np.bool_]) -> Block:
    """Return `first_share` of the chosen queries among their allowed rows: more than ten for each."""
    return first_share(np.where(allowed_BN, distances_BN, np.inf)[chosen_B], NEAREST)


def _overlap(first_BN: Block, second_BN: Block) -> Block:
    """Return share_B: the expected number of rows in both, over the number in the first."""
    return np.asarray((first_BN * second_BN).sum(axis=1) / first_BN.sum(axis=1))


def _tied_at(distances_BN: Block, k: int) -> NDArray[np.int64]:
    cut_B1 = np.partition(distances_BN, k - 1, axis=1)[:, k - 1 : k]
    return np.asarray((distances_BN == cut_B1).sum(axis=1))


def _mean(parts: Sequence[Block]) -> float | None:
    return float(np.concatenate(parts).astype(np.float64).mean()) if parts else None
