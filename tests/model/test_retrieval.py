import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import retrieval
from model.codes import hamming_distances, pack
from model.metrics import precision_at_k
from model.retrieval import CUTOFFS, LabelledCodes, expected_hits, expected_precisions, retrieve, score_lists
from model.spec import CodePart, CodeSpec


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


def test_scores_at_cutoffs_need_but_the_first_groups():
    rng = np.random.default_rng(2)
    total_QD = rng.integers(0, 3, (20, 400))
    relevant_QD = rng.integers(0, total_QD + 1)
    scores_QS = score_lists(relevant_QD, total_QD, CUTOFFS)
    found_Q, places = relevant_QD.sum(axis=1), len(CUTOFFS)
    for place, k in enumerate(CUTOFFS):
        ap_Q = expected_precisions(relevant_QD, total_QD, k) / np.minimum(k, found_Q)
        hits_Q = expected_hits(relevant_QD, total_QD, k)
        assert scores_QS[:, 1 + place] == pytest.approx(ap_Q)
        assert scores_QS[:, 1 + places + place] == pytest.approx(hits_Q / k)
        assert scores_QS[:, 1 + 2 * places + place] == pytest.approx(hits_Q / found_Q)


def relevant_to(label, labels_N):
    """The definition: the same class, or a class in common."""
    if labels_N.ndim == 1:
        return np.array([label == other for other in labels_N])
    return np.array([bool(set(np.flatnonzero(label)) & set(np.flatnonzero(other))) for other in labels_N])


def oracle(queries_QY, query_labels_Q, codes_NY, labels_N, own_rows_Q):
    """One query after the other: the slow distances, then the mean over every order of the ties."""
    lists_Q = []
    for query, distances_N in enumerate(hamming_distances(queries_QY, codes_NY)):
        kept_N = np.ones(len(codes_NY), bool)
        if own_rows_Q is not None:
            kept_N[own_rows_Q[query]] = False
        distances_N = distances_N[kept_N]
        relevant_N = relevant_to(query_labels_Q[query], labels_N)[kept_N]
        groups = [
            (int((relevant_N & (distances_N == d)).sum()), int((distances_N == d).sum()))
            for d in range(int(distances_N.max()) + 1)
        ]
        lists_Q.append((relevant_N, distances_N, list(every_order(groups))))
    return lists_Q


def random_labels(rng, count, multi_label):
    """Two classes, all chips findable; or four that overlap, one that nothing has, and chips with none."""
    if not multi_label:
        return np.arange(count) % 2
    labels_NC = rng.random((count, 5)) < 0.4
    labels_NC[:, 3] = False
    labels_NC[:2] = [True, True, False, False, False]
    return labels_NC


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("num_bits", [8, 72])
def test_all_figures_against_the_definitions(monkeypatch, leave_one_out, num_bits, multi_label):
    monkeypatch.setattr(retrieval, "_BLOCK", 3)
    rng = np.random.default_rng(num_bits)
    codes_NY, labels_N = pack(rng.random((9, num_bits)) < 0.2), random_labels(rng, 9, multi_label)
    queries_QY, query_labels_Q, own_rows_Q = codes_NY, labels_N, np.arange(9)
    if not leave_one_out:
        queries_QY, own_rows_Q = pack(rng.random((7, num_bits)) < 0.2), None
        query_labels_Q = random_labels(rng, 7, multi_label)
    measured = retrieve(
        LabelledCodes(queries_QY, query_labels_Q),
        LabelledCodes(codes_NY, labels_N),
        own_rows_Q,
        cutoffs=(1, 4),
    )
    every_Q = oracle(queries_QY, query_labels_Q, codes_NY, labels_N, own_rows_Q)
    answerable_Q = np.array([r.any() for r, _, _ in every_Q])
    lists_Q = [row for row, answerable in zip(every_Q, answerable_Q, strict=True) if answerable]
    ranking = measured.ranking
    assert (ranking.queries, ranking.unanswerable) == (answerable_Q.sum(), (~answerable_Q).sum())
    ap_Q = np.full(len(every_Q), np.nan)
    ap_Q[answerable_Q] = [
        np.mean([sum_of_precisions(o, 99) for o in orders]) / r.sum() for r, _, orders in lists_Q
    ]
    assert ranking.average_precision_Q == pytest.approx(ap_Q, nan_ok=True)
    assert ranking.map_all == pytest.approx(np.nanmean(ap_Q))
    members = query_labels_Q.T if multi_label else [query_labels_Q == c for c in (0, 1)]
    expected = {c: ap_Q[in_class & answerable_Q] for c, in_class in enumerate(members)}
    assert ranking.map_of_class == pytest.approx({c: aps.mean() for c, aps in expected.items() if len(aps)})
    for k in (1, 4):
        at_k = [
            np.mean([sum_of_precisions(o, k) for o in orders]) / min(k, r.sum()) for r, _, orders in lists_Q
        ]
        hits = np.array([np.mean([o[:k].sum() for o in orders]) for _, _, orders in lists_Q])
        assert ranking.map_at_k[k] == pytest.approx(np.mean(at_k))
        assert ranking.recall_at_k[k] == pytest.approx(np.mean(hits / [r.sum() for r, _, _ in lists_Q]))
        assert ranking.precision_at_k[k] == pytest.approx(hits.mean() / k)
        if not multi_label:
            reference = precision_at_k(
                LabelledCodes(queries_QY, query_labels_Q), LabelledCodes(codes_NY, labels_N), k, own_rows_Q
            )
            assert ranking.precision_at_k[k] == pytest.approx(reference)
    for radius in range(num_bits + 1):
        near = [r[d <= radius].mean() if (d <= radius).any() else 0 for r, d, _ in lists_Q]
        assert measured.precision_within_D[radius] == pytest.approx(np.mean(near))
    relevant, distances = (np.concatenate([row[i] for row in every_Q]) for i in range(2))
    assert measured.same_D.tolist() == np.bincount(distances[relevant], minlength=num_bits + 1).tolist()
    assert measured.different_D.tolist() == np.bincount(distances[~relevant], minlength=num_bits + 1).tolist()
    for radius in range(num_bits + 1):
        within = distances <= radius
        assert measured.recall_by_radius[radius] == pytest.approx(relevant[within].sum() / relevant.sum())
        precision = relevant[within].mean() if within.any() else np.nan
        assert measured.precision_by_radius[radius] == pytest.approx(precision, nan_ok=True)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=60), st.booleans(), st.integers(0, 99))
def test_one_hot_labels_and_class_ids_give_the_same(ids, leave_one_out, seed):
    labels_N = np.array([0, 0, *ids])
    codes_NY = pack(np.random.default_rng(seed).random((len(labels_N), 16)) < 0.5)
    own_rows_N = np.arange(len(labels_N)) if leave_one_out else None
    by_id = retrieve(LabelledCodes(codes_NY, labels_N), LabelledCodes(codes_NY, labels_N), own_rows_N)
    one_hot_NC = np.eye(4, dtype=bool)[labels_N]
    by_set = retrieve(LabelledCodes(codes_NY, one_hot_NC), LabelledCodes(codes_NY, one_hot_NC), own_rows_N)
    assert by_id.ranking.map_of_class == pytest.approx(by_set.ranking.map_of_class)
    assert by_id.ranking.map_at_k == pytest.approx(by_set.ranking.map_at_k)
    assert by_id.same_D.tolist() == by_set.same_D.tolist()
    assert by_id.precision_within_D == pytest.approx(by_set.precision_within_D)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 99), st.integers(1, 4), st.booleans())
def test_weighted_parts_are_as_bits_that_stand_there_more_than_once(seed, weight, multi_label):
    rng = np.random.default_rng(seed)
    codes_NY, labels_N = pack(rng.random((30, 40)) < 0.2), random_labels(rng, 30, multi_label)
    code = CodeSpec((CodePart("kind", 16, weight), CodePart("look", 24)))
    repeated = {
        "both": np.concatenate([codes_NY[:, :2]] * weight + [codes_NY[:, 2:]], axis=1),
        "kind": codes_NY[:, :2],
        "look": codes_NY[:, 2:],
    }
    for compare, plain_NY in repeated.items():
        measured = retrieve(
            LabelledCodes(codes_NY, labels_N),
            code=code,
            compare=compare,
        )
        expected = retrieve(LabelledCodes(plain_NY, labels_N))
        assert measured.ranking == expected.ranking
        assert measured.same_D.tolist() == expected.same_D.tolist()
        assert measured.different_D.tolist() == expected.different_D.tolist()
        assert measured.precision_within_D.tolist() == expected.precision_within_D.tolist()


def test_a_part_that_the_codes_lack():
    codes_NY, labels_N = np.zeros((2, 1), np.uint8), np.zeros(2, int)
    with pytest.raises(ValueError, match="no look bits to compare"):
        retrieve(
            LabelledCodes(codes_NY, labels_N),
            LabelledCodes(codes_NY, labels_N),
            code=CodeSpec((CodePart("kind", 8),)),
            compare="look",
        )


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(1)
    codes_NY, labels_N, rows_N = pack(rng.random((600, 16)) < 0.5), rng.integers(0, 5, 600), np.arange(600)
    shuffled_N = rng.permutation(600)
    first = retrieve(LabelledCodes(codes_NY, labels_N), LabelledCodes(codes_NY, labels_N), rows_N)
    again = retrieve(
        LabelledCodes(codes_NY[shuffled_N], labels_N[shuffled_N]),
        LabelledCodes(codes_NY, labels_N),
        shuffled_N,
    )
    assert first.ranking.map_all == pytest.approx(again.ranking.map_all)
    assert first.same_D.tolist() == again.same_D.tolist()


def test_collapsed_codes_score_as_chance():
    codes_NY, labels_N = np.zeros((1000, 8), np.uint8), np.arange(1000) % 4
    ranking = retrieve(LabelledCodes(codes_NY, labels_N)).ranking
    assert ranking.precision_at_k[10] == pytest.approx(249 / 999)
    assert ranking.map_all == pytest.approx(0.25, abs=0.01)


def test_no_rounding_lifts_a_figure_above_one():
    """All codes are of one class: every list is perfect, whatever is tied."""
    labels_N = np.zeros(32, int)
    for seed in range(20):
        codes_NY = pack(np.random.default_rng(seed).random((32, 64)) < 0.4)
        ranking = retrieve(LabelledCodes(codes_NY, labels_N)).ranking
        assert ranking.average_precision_Q.max() <= 1
        assert ranking.map_all == pytest.approx(1)
        assert max(ranking.map_all, *ranking.map_at_k.values(), *ranking.recall_at_k.values()) <= 1


def test_queries_with_nothing_to_find_are_left_out():
    codes_NY, labels_N = pack(np.eye(8, dtype=bool)), np.array([0, 0, 0, 0, 0, 0, 0, 1])
    ranking = retrieve(LabelledCodes(codes_NY, labels_N)).ranking
    assert (ranking.queries, ranking.unanswerable, list(ranking.map_of_class)) == (7, 1, [0])
    with pytest.raises(ValueError, match="no query has another of its class"):
        retrieve(LabelledCodes(codes_NY, np.arange(8)), LabelledCodes(codes_NY, np.arange(8)), np.arange(8))


def test_codes_of_two_lengths():
    with pytest.raises(ValueError, match="queries have 16 bits, codes 8"):
        retrieve(
            LabelledCodes(np.zeros((1, 2), np.uint8), np.zeros(1, int)),
            LabelledCodes(np.zeros((1, 1), np.uint8), np.zeros(1, int)),
        )


def test_two_kinds_of_labels():
    codes_NY, labels_N = np.zeros((2, 1), np.uint8), np.zeros(2, int)
    with pytest.raises(ValueError, match="both must be class ids, or multi-hot over the same classes"):
        retrieve(LabelledCodes(codes_NY, labels_N), LabelledCodes(codes_NY, np.ones((2, 3), bool)))
    with pytest.raises(ValueError, match="multi-hot over the same classes"):
        retrieve(
            LabelledCodes(codes_NY, np.ones((2, 4), bool)), LabelledCodes(codes_NY, np.ones((2, 3), bool))
        )


@pytest.mark.parametrize("multi_label", [True, False])
def test_memory_is_bounded_by_the_codes(multi_label):
    """What a million codes need at most: the docstring's bytes a code, whatever the number of queries."""
    rng = np.random.default_rng(3)
    codes_NY, labels_N = rng.integers(0, 256, (200_000, 8), dtype=np.uint8), rng.integers(0, 9, 200_000)
    labels_N = np.eye(9, dtype=bool)[labels_N] if multi_label else labels_N
    tracemalloc.start()
    retrieve(LabelledCodes(codes_NY[:300], labels_N[:300]), LabelledCodes(codes_NY, labels_N))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    blocks = 20 * 256 * 65 * 8
    assert peak < 200_000 * (3 * 8 + 50 + 9) + blocks
