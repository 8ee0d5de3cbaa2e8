import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import retrieval
from model.codes import hamming_distances, pack
from model.metrics import precision_at_k
from model.retrieval import expected_hits, expected_precisions, retrieve


def every_order(groups):
    """Yield the relevance of every list that ties allow; ``groups`` are (relevant, total), nearest first."""
    lists = [
        set(itertools.permutations([True] * relevant + [False] * (total - relevant)))
        for relevant, total in groups
    ]
    for parts in itertools.product(*lists):
        yield np.array([place for part in parts for place in part], bool)


def sum_of_precisions(relevant_N, k):
    """The definition of AP@k, before its division."""
    precision_N = np.cumsum(relevant_N) / np.arange(1, len(relevant_N) + 1)
    return (precision_N * relevant_N)[:k].sum()


def counts(groups):
    relevant_D, total_D = np.array(groups, np.int64).T
    return relevant_D[None], total_D[None]


group = st.integers(0, 4).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@settings(deadline=None)
@given(st.lists(group, min_size=1, max_size=4), st.integers(1, 12))
def test_the_closed_form_is_the_mean_over_all_orders(groups, k):
    lists = list(every_order(groups))
    assert expected_hits(*counts(groups), k)[0] == pytest.approx(np.mean([row[:k].sum() for row in lists]))
    expected = np.mean([sum_of_precisions(row, k) for row in lists])
    assert expected_precisions(*counts(groups), k)[0] == pytest.approx(expected)


def test_the_closed_form_over_real_permutations():
    """As above, over orders of codes that one can tell apart: distinct arrangements are equally likely."""
    relevant_N = np.array([True, False, True, False, False, True])
    orders = itertools.permutations(range(6))
    expected = np.mean([sum_of_precisions(relevant_N[list(order)], 4) for order in orders])
    assert expected_precisions(*counts([(3, 6)]), 4)[0] == pytest.approx(expected)


def test_a_long_list_in_a_known_order_keeps_its_digits():
    rng = np.random.default_rng(0)
    relevant_N = rng.random(200_000) < 0.01
    measured = expected_precisions(relevant_N[None].astype(int), np.ones((1, 200_000), int), 200_000)[0]
    assert measured == pytest.approx(sum_of_precisions(relevant_N, 200_000), rel=1e-9)


def oracle(queries_QY, query_labels_Q, codes_NY, labels_N, own_rows_Q):
    """One query after the other: the slow distances, then the mean over every order of the ties."""
    lists_Q = []
    for query, distances_N in enumerate(hamming_distances(queries_QY, codes_NY)):
        kept_N = np.ones(len(codes_NY), bool)
        if own_rows_Q is not None:
            kept_N[own_rows_Q[query]] = False
        distances_N, relevant_N = distances_N[kept_N], (labels_N == query_labels_Q[query])[kept_N]
        groups = [
            (int((relevant_N & (distances_N == d)).sum()), int((distances_N == d).sum()))
            for d in range(int(distances_N.max()) + 1)
        ]
        lists_Q.append((relevant_N, distances_N, list(every_order(groups))))
    return lists_Q


@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("num_bits", [8, 72])
def test_all_figures_against_the_definitions(monkeypatch, leave_one_out, num_bits):
    monkeypatch.setattr(retrieval, "_BLOCK", 3)
    rng = np.random.default_rng(num_bits)
    codes_NY, labels_N = pack(rng.random((9, num_bits)) < 0.2), rng.integers(0, 2, 9)
    queries_QY, query_labels_Q, own_rows_Q = codes_NY, labels_N, np.arange(9)
    if not leave_one_out:
        queries_QY, query_labels_Q, own_rows_Q = pack(rng.random((7, num_bits)) < 0.2), np.arange(7) % 2, None
    measured = retrieve(queries_QY, query_labels_Q, codes_NY, labels_N, own_rows_Q, cutoffs=(1, 4))
    lists_Q = oracle(queries_QY, query_labels_Q, codes_NY, labels_N, own_rows_Q)
    ap_Q = np.array(
        [np.mean([sum_of_precisions(o, 99) for o in orders]) / r.sum() for r, _, orders in lists_Q]
    )
    assert measured.ranking.map_all == pytest.approx(ap_Q.mean())
    for c in (0, 1):
        assert measured.ranking.map_of_class[c] == pytest.approx(ap_Q[query_labels_Q == c].mean())
    for k in (1, 4):
        at_k = [
            np.mean([sum_of_precisions(o, k) for o in orders]) / min(k, r.sum()) for r, _, orders in lists_Q
        ]
        recall = [np.mean([o[:k].sum() for o in orders]) / r.sum() for r, _, orders in lists_Q]
        assert measured.ranking.map_at_k[k] == pytest.approx(np.mean(at_k))
        assert measured.ranking.recall_at_k[k] == pytest.approx(np.mean(recall))
        reference = precision_at_k(queries_QY, query_labels_Q, codes_NY, labels_N, k, own_rows_Q)
        assert measured.ranking.precision_at_k[k] == pytest.approx(reference)
    near = [r[d <= 2].mean() if (d <= 2).any() else 0 for r, d, _ in lists_Q]
    assert measured.precision_within_2 == pytest.approx(np.mean(near))
    relevant, distances = (np.concatenate([row[i] for row in lists_Q]) for i in range(2))
    assert measured.same_D.tolist() == np.bincount(distances[relevant], minlength=num_bits + 1).tolist()
    assert measured.different_D.tolist() == np.bincount(distances[~relevant], minlength=num_bits + 1).tolist()
    for radius in range(num_bits + 1):
        within = distances <= radius
        assert measured.recall_by_radius[radius] == pytest.approx(relevant[within].sum() / relevant.sum())
        precision = relevant[within].mean() if within.any() else np.nan
        assert measured.precision_by_radius[radius] == pytest.approx(precision, nan_ok=True)


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(1)
    codes_NY, labels_N, rows_N = pack(rng.random((600, 16)) < 0.5), rng.integers(0, 5, 600), np.arange(600)
    shuffled_N = rng.permutation(600)
    first = retrieve(codes_NY, labels_N, codes_NY, labels_N, rows_N)
    again = retrieve(codes_NY[shuffled_N], labels_N[shuffled_N], codes_NY, labels_N, shuffled_N)
    assert first.ranking.map_all == pytest.approx(again.ranking.map_all)
    assert first.same_D.tolist() == again.same_D.tolist()


def test_collapsed_codes_score_as_chance():
    codes_NY, labels_N = np.zeros((1000, 8), np.uint8), np.arange(1000) % 4
    ranking = retrieve(codes_NY, labels_N, codes_NY, labels_N, np.arange(1000)).ranking
    assert ranking.precision_at_k[10] == pytest.approx(249 / 999)
    assert ranking.map_all == pytest.approx(0.25, abs=0.01)


def test_queries_with_nothing_to_find_are_left_out():
    codes_NY, labels_N = pack(np.eye(8, dtype=bool)), np.array([0, 0, 0, 0, 0, 0, 0, 1])
    ranking = retrieve(codes_NY, labels_N, codes_NY, labels_N, np.arange(8)).ranking
    assert (ranking.queries, ranking.unanswerable, list(ranking.map_of_class)) == (7, 1, [0])
    with pytest.raises(ValueError, match="no query has another of its class"):
        retrieve(codes_NY, np.arange(8), codes_NY, np.arange(8), np.arange(8))


def test_codes_of_two_lengths():
    with pytest.raises(ValueError, match="queries have 16 bits, codes 8"):
        retrieve(np.zeros((1, 2), np.uint8), np.zeros(1, int), np.zeros((1, 1), np.uint8), np.zeros(1, int))
