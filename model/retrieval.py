"""Retrieval quality of packed codes, from each query's number of codes at each distance.

Shapes: Q queries, N codes, Y bytes a code, W words of 64 bits, C classes, S = 1 + 3 scores for each cut-off;
D = G + 1 distances 0..G, where G is the greatest distance that two codes can have: K for K bits that count
once (or D groups of tied rows, nearest first).

A code is relevant to a query of its class; with several labels a chip, to a query that shares one of them.

Ties: distances are few small integers, so most of a list is tied, and its order would be that of the
files. Every figure here is the mean over all orders of tied codes, in closed form (McSherry & Najork,
"Computing information retrieval performance measures efficiently in the presence of tied scores", ECIR
2008). Take n tied codes, r of them relevant, behind s nearer codes with h relevant ones. The code in place
j of the n is relevant with probability r / n; if it is, h + 1 + (j - 1) (r - 1) / (n - 1) of the s + j codes
up to it are, on average. With b = (r - 1) / (n - 1), the first m of the n places add to the sum of precisions

    r / n * sum over j = 1..m of (h + 1 + b (j - 1)) / (s + j)
        = r / n * (b m + (h + 1 - b (s + 1)) (H(s + m) - H(s))),   H(i) = 1 + 1/2 + ... + 1/i
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.codes import Codes, greatest_distance, weighted_words
from model.spec import CodeSpec, Compare

CUTOFFS = (1, 5, 10, 20, 50, 100)
_BLOCK = 256  # queries scored at a time: their counts are _BLOCK * D numbers

Counts = NDArray[np.int64]
Labels = NDArray[np.integer] | NDArray[np.bool_]
"""Class ids, a row each; or labels_NC, multi-hot: the classes that each row carries."""


class LabelledCodes(NamedTuple):
    """Codes and what they are labelled with: queries, or the database that they search."""

    codes_NY: Codes
    labels_N: Labels


@dataclass(frozen=True)
class Ranking:
    """Quality of the queries' lists, 0..1: means over the queries that have a relevant code to find."""

    queries: int
    """Queries that have a relevant code to find."""
    unanswerable: int
    """Queries that have none; they are left out of all figures."""
    map_all: float
    """Mean average precision over the whole list."""
    map_at_k: Mapping[int, float]
    """The same over the first k; AP@k is divided by min(k, number of relevant codes)."""
    precision_at_k: Mapping[int, float]
    """Share of relevant codes in the first k places; places that the database can't fill count as wrong."""
    recall_at_k: Mapping[int, float]
    """Share of the relevant codes that is in the first k places."""
    map_of_class: Mapping[int, float]
    """``map_all`` over the queries of each class id; a query of several classes counts in each."""
    average_precision_Q: NDArray[np.float64] = field(repr=False, compare=False)
    """Average precision of each query, over the whole list; NaN if it has no relevant code."""


@dataclass(frozen=True)
class Retrieval:
    """Quality of the lists, and the pairs at each distance.

    For float vectors, D bins of similarity, most similar first, take the place of the distances.
    """

    ranking: Ranking
    same_D: Counts
    """Pairs of a query and a code relevant to it, by distance."""
    different_D: Counts
    """All other pairs, likewise."""
    precision_within_D: NDArray[np.float64] | None
    """Mean share of relevant codes within each radius 0..G of the query; a query with no code within it
    counts as 0. None: float vectors."""

    @property
    def precision_by_radius(self) -> NDArray[np.float64]:
        """Precision over all pairs within each radius 0..G together; NaN where there is no pair."""
        within_D = np.cumsum(self.same_D + self.different_D)
        return np.asarray(np.cumsum(self.same_D) / np.where(within_D > 0, within_D, np.nan))

    @property
    def recall_by_radius(self) -> NDArray[np.float64]:
        """Recall over all pairs within each radius 0..G together."""
        return np.asarray(np.cumsum(self.same_D) / self.same_D.sum())


def retrieve(
    queries: LabelledCodes,
    database: LabelledCodes | None = None,
    own_rows_Q: NDArray[np.integer] | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
    code: CodeSpec | None = None,
    compare: Compare = "both",
) -> Retrieval:
    """Measure the lists of the database's codes by distance from each query.

    ``code`` says what parts the codes have, and ``compare`` which of them count; without ``code`` each bit
    counts once. Codes at the same distance are tied, even if they differ in the part that isn't compared.

    ``own_rows_Q`` names each query's own row in the database, which is left out of its list. Without a
    ``database`` the queries search among themselves, each without its own row. Beside the codes, memory holds
    at most three copies of them, some 50 bytes a code, a copy of the labels and 30 numbers a query. Raises
    ValueError if code lengths or the kinds of labels differ, no query has a relevant code, or the codes lack
    the part.
    """
    if database is None:
        database, own_rows_Q = queries, np.arange(len(queries.codes_NY))
    (queries_QY, query_labels_Q), (codes_NY, labels_N) = queries, database
    if queries_QY.shape[1] != codes_NY.shape[1]:
        raise ValueError(f"queries have {queries_QY.shape[1] * 8} bits, codes {codes_NY.shape[1] * 8}")
    check_labels(query_labels_Q, labels_N)
    words_NW, weights_W = weighted_words(codes_NY, code, compare)
    query_words_QW, _ = weighted_words(queries_QY, code, compare)
    counted = _Database(words_NW, weights_W, labels_N, greatest_distance(codes_NY, code, compare))
    same_D = np.zeros(counted.num_distances, np.int64)
    different_D, within_D = same_D.copy(), np.zeros(len(same_D))
    scores = [np.empty((0, 1 + 3 * len(cutoffs)))]
    for start in range(0, len(queries_QY), _BLOCK):
        block = slice(start, start + _BLOCK)
        own_rows_B = None if own_rows_Q is None else own_rows_Q[block]
        relevant_BD, total_BD = counted.count(query_words_QW[block], query_labels_Q[block], own_rows_B)
        same_D += relevant_BD.sum(axis=0)
        different_D += (total_BD - relevant_BD).sum(axis=0)
        scores.append(score_lists(relevant_BD, total_BD, cutoffs))
        near_BD = np.cumsum(relevant_BD, axis=1) / np.maximum(np.cumsum(total_BD, axis=1), 1)
        within_D += near_BD[relevant_BD.any(axis=1)].sum(axis=0)
    ranking = summarise(np.concatenate(scores), query_labels_Q, cutoffs)
    return Retrieval(ranking, same_D, different_D, within_D / ranking.queries)


def check_labels(query_labels_Q: Labels, labels_N: Labels) -> None:
    """Raise ValueError unless both are class ids, or both multi-hot over the same classes."""
    if query_labels_Q.shape[1:] != labels_N.shape[1:]:
        raise ValueError(
            f"labels of queries have the shape {query_labels_Q.shape}, of what they search {labels_N.shape}: "
            "both must be class ids, or multi-hot over the same classes"
        )


def relevant_rows(labels_N: Labels, query_label: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return relevant_N: the rows that share the query's class id, or one of its labels_C."""
    if labels_N.ndim == 1:
        return np.asarray(labels_N == query_label)
    return np.asarray(labels_N[:, np.flatnonzero(query_label)].any(axis=1))


class _Database:
    """Codes in an order in which those relevant to a query are found fast.

    With class ids they are one slice, as the codes are sorted by class. With multi-hot labels_CN they are the
    union of a few rows of it.
    """

    def __init__(
        self,
        words_NW: NDArray[np.uint64],
        weights_W: NDArray[np.uint16],
        labels_N: Labels,
        greatest_distance: int,
    ) -> None:
        multi_hot = labels_N.ndim == 2
        order_N = np.arange(len(labels_N)) if multi_hot else np.argsort(labels_N, kind="stable")
        self.labels = np.ascontiguousarray(labels_N.T) if multi_hot else labels_N[order_N]
        self.words_WN, self.weights_W = np.ascontiguousarray(words_NW[order_N].T), weights_W
        self.place_N = np.argsort(order_N)  # the new position of each row
        self.num_distances = greatest_distance + 1

    def count(
        self,
        query_words_QW: NDArray[np.uint64],
        labels_Q: Labels,
        own_rows_Q: NDArray[np.integer] | None,
    ) -> tuple[Counts, Counts]:
        """Return relevant_QD and total_QD: codes at each distance from each query."""
        beyond = self.num_distances  # a distance that no code has, for the query's own row
        total_QD = np.zeros((len(query_words_QW), beyond), np.int64)
        relevant_QD = np.zeros_like(total_QD)
        for query, query_W in enumerate(query_words_QW):
            distances_N = np.zeros(len(self.place_N), np.uint16)
            for words_N, word, weight in zip(self.words_WN, query_W, self.weights_W, strict=True):
                differing_N = np.bitwise_count(words_N ^ word)
                distances_N += differing_N if weight == 1 else differing_N * weight
            if own_rows_Q is not None:
                distances_N[self.place_N[own_rows_Q[query]]] = beyond
            near_N = distances_N[self._relevant(labels_Q[query])]
            total_QD[query] = np.bincount(distances_N, minlength=beyond + 1)[:beyond]
            relevant_QD[query] = np.bincount(near_N, minlength=beyond + 1)[:beyond]
        return relevant_QD, total_QD

    def _relevant(self, label: NDArray[np.generic]) -> slice | NDArray[np.bool_]:
        if self.labels.ndim == 2:
            return np.asarray(self.labels[np.flatnonzero(label)].any(axis=0))
        first, last = (int(np.searchsorted(self.labels, label, side=side)) for side in ("left", "right"))
        return slice(first, last)


def score_lists(relevant_QD: Counts, total_QD: Counts, cutoffs: Sequence[int]) -> NDArray[np.float64]:
    """Return scores_QS, 0..1: AP, then all AP@k, P@k, recall@k; NaN for queries without a relevant code."""
    found_Q = relevant_QD.sum(axis=1).astype(np.float64)
    found_Q[found_Q == 0] = np.nan
    columns = [expected_precisions(relevant_QD, total_QD, int(total_QD.sum())) / found_Q]
    # with float vectors nearly every row is a group of its own, and the cut-offs need only the first groups
    deepest_D = (np.cumsum(total_QD, axis=1) - total_QD).min(axis=0, initial=max(cutoffs))
    reached_D = deepest_D < max(cutoffs)
    relevant_QD, total_QD = relevant_QD[:, reached_D], total_QD[:, reached_D]
    hits_CQ = [expected_hits(relevant_QD, total_QD, k) for k in cutoffs]
    columns += [expected_precisions(relevant_QD, total_QD, k) / np.minimum(k, found_Q) for k in cutoffs]
    columns += [hits_Q / k for hits_Q, k in zip(hits_CQ, cutoffs, strict=True)]
    columns += [hits_Q / found_Q for hits_Q in hits_CQ]
    scores_QS = np.minimum(np.stack(columns, axis=1), 1)  # rounding may take a perfect list above 1
    return np.where(np.isnan(found_Q)[:, None], np.nan, scores_QS)


def expected_hits(relevant_QD: Counts, total_QD: Counts, k: int) -> NDArray[np.float64]:
    """Return each query's mean number of relevant codes in the first k places, 0..k."""
    before_QD = np.cumsum(total_QD, axis=1) - total_QD
    places_QD = np.clip(k - before_QD, 0, total_QD)
    return np.asarray((relevant_QD * places_QD / np.maximum(total_QD, 1)).sum(axis=1))


def expected_precisions(relevant_QD: Counts, total_QD: Counts, k: int) -> NDArray[np.float64]:
    """Return each query's mean sum of precisions at the relevant codes in the first k places, 0..k.

    The formula is the module's; divided by the number of relevant codes, it is the average precision.
    """
    before_QD = np.cumsum(total_QD, axis=1) - total_QD
    hits_before_QD = np.cumsum(relevant_QD, axis=1) - relevant_QD
    places_QD = np.clip(k - before_QD, 0, total_QD)
    slope_QD = (relevant_QD - 1) / np.maximum(total_QD - 1, 1)
    depth = int(total_QD.sum(axis=1).max(initial=0))
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, depth + 1))])
    span_QD = harmonic[before_QD + places_QD] - harmonic[before_QD]
    inner_QD = slope_QD * places_QD + (hits_before_QD + 1 - slope_QD * (before_QD + 1)) * span_QD
    return np.asarray((relevant_QD / np.maximum(total_QD, 1) * inner_QD).sum(axis=1))


def summarise(scores_QS: NDArray[np.float64], labels_Q: Labels, cutoffs: Sequence[int]) -> Ranking:
    """Average the scores of `score_lists`. Raises ValueError if no query has a relevant code."""
    average_precision_Q = scores_QS[:, 0].copy()
    answerable_Q = ~np.isnan(average_precision_Q)
    scores_QS, labels_Q = scores_QS[answerable_Q], labels_Q[answerable_Q]
    if not len(scores_QS):
        raise ValueError("no query has another of its class to find")
    first, *rest = scores_QS.mean(axis=0).tolist()
    by_k = [dict(zip(cutoffs, rest[i * len(cutoffs) :], strict=False)) for i in range(3)]
    return Ranking(
        queries=len(scores_QS),
        unanswerable=int((~answerable_Q).sum()),
        map_all=first,
        map_at_k=by_k[0],
        precision_at_k=by_k[1],
        recall_at_k=by_k[2],
        map_of_class={c: float(scores_QS[of_class_Q, 0].mean()) for c, of_class_Q in _classes(labels_Q)},
        average_precision_Q=average_precision_Q,
    )


def _classes(labels_Q: Labels) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield each class that occurs and which rows carry it."""
    if labels_Q.ndim == 2:
        for class_id in np.flatnonzero(labels_Q.any(axis=0)):
            yield int(class_id), labels_Q[:, class_id].astype(bool)
    else:
        for class_id in np.unique(labels_Q):
            yield int(class_id), labels_Q == class_id
