"""Each figure against its definition: the mean over every order that ties allow."""

import itertools
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import order
from model.codes import pack
from model.order import (
    code_lists,
    cosine_lists,
    first_share,
    found_share,
    order_figures,
    place_recall,
    shared_nearest,
)
from model.spec import CodePart, CodeSpec

TWO_PARTS = CodeSpec((CodePart("kind", 8, 3), CodePart("look", 16)))


def every_list(distances, rows):
    """Yield every order of some rows that goes by distance."""
    for permuted in itertools.permutations(rows):
        if all(distances[a] <= distances[b] for a, b in itertools.pairwise(permuted)):
            yield permuted


def all_distances(lists):
    return np.concatenate([lists.distances(block) for block in lists.blocks()])


def mean_over_orders(first, second, rows, k, within):
    """The share of the first k of one list that is among the first of the other, over all orders of both."""
    firsts, seconds = (list(every_list(distances, rows)) for distances in (first, second))
    return np.mean([len(set(a[:k]) & set(b[:within])) / k for a in firsts for b in seconds])


def make_lists(rng, count=7):
    """Features of few directions and codes of few bits on, so that most of both lists is tied."""
    features_NF = rng.integers(0, 2, (count, 3)) + np.array([0, 0, 1])
    codes_NY = pack(rng.random((count, 24)) < 0.15)
    return cosine_lists(features_NF, features_NF), code_lists(codes_NY, codes_NY, TWO_PARTS)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("multi_label", [True, False])
def test_order_figures_are_means_over_all_orders(monkeypatch, seed, multi_label):
    monkeypatch.setattr(order, "NEAREST", 2)
    monkeypatch.setattr(order, "KEPT_WITHIN", 3)
    monkeypatch.setattr(order, "_PAIRS", 14)  # two queries a block
    rng = np.random.default_rng(seed)
    cosine, lists = make_lists(rng)
    labels_N = rng.random((7, 3)) < 0.6 if multi_label else np.array([0, 0, 0, 0, 1, 1, 1])
    (measured,) = order_figures(cosine, labels_N, [lists])
    in_class, kept, tied = [], [], []
    for query, (by_cosine, by_code) in enumerate(
        zip(all_distances(cosine), all_distances(lists), strict=True)
    ):
        others = [row for row in range(7) if row != query]
        own = [
            row
            for row in others
            if ((labels_N[row] & labels_N[query]).any() if multi_label else labels_N[row] == labels_N[query])
        ]
        kept.append(mean_over_orders(by_cosine, by_code, others, 2, 3))
        if len(own) > 2:
            in_class.append(mean_over_orders(by_cosine, by_code, own, 2, 2))
        tenth = sorted(by_code[others])[1]
        tied.append(sum(by_code[row] == tenth for row in others))
    assert in_class, "some queries have three others of their class"
    assert measured.in_class_recall10 == pytest.approx(np.mean(in_class))
    assert measured.kept_recall10 == pytest.approx(np.mean(kept))
    assert measured.tied10 == np.median(tied)


def test_several_lists_are_measured_at_once():
    rng = np.random.default_rng(0)
    features_NF, labels_N = rng.normal(0, 1, (150, 8)), np.arange(150) % 3
    codes_NY = pack(np.concatenate([features_NF, features_NF, features_NF], axis=1) > 0)
    cosine = cosine_lists(features_NF, features_NF)
    every = [code_lists(codes_NY, codes_NY, TWO_PARTS, compare) for compare in ("both", "kind", "look")]
    together = order_figures(cosine, labels_N, every)
    assert together == [order_figures(cosine, labels_N, [lists])[0] for lists in every]
    assert together[0].in_class_recall10 > 0.3, "signs of the features keep some of their order"
    assert order_figures(cosine, labels_N, [cosine])[0] == order.OrderFigures(1, 1, 1)


def test_too_few_chips_have_no_figures():
    features_NF, labels_N = np.eye(10), np.zeros(10, int)
    cosine = cosine_lists(features_NF, features_NF)
    assert order_figures(cosine, labels_N, [cosine]) == [order.OrderFigures(None, None, None)]
    features_NF, labels_N = np.eye(12), np.arange(12) % 2
    cosine = cosine_lists(features_NF, features_NF)
    assert order_figures(cosine, labels_N, [cosine]) == [order.OrderFigures(None, None, 11)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(1, 6))
def test_a_rows_chance_to_be_among_the_first(distances, k):
    rows = range(len(distances))
    k = min(k, len(distances))
    lists = list(every_list(distances, rows))
    expected = [np.mean([row in chosen[:k] for chosen in lists]) for row in rows]
    measured_1N = first_share(np.array([distances], np.float32), k)
    assert measured_1N[0] == pytest.approx(np.array(expected), abs=1e-6)


def test_fewer_rows_than_places():
    with pytest.raises(ValueError, match="the first 3 of 2 rows"):
        first_share(np.zeros((1, 2), np.float32), 3)


@pytest.mark.parametrize("seed", range(4))
def test_found_is_the_mean_over_all_orders(monkeypatch, seed):
    monkeypatch.setattr(order, "_PAIRS", 12)
    rng = np.random.default_rng(seed)
    codes_NY, turned_NY = (pack(rng.random((6, 8)) < 0.15) for _ in "ab")
    lists = code_lists(turned_NY, codes_NY)
    for k in (1, 3):
        expected = [
            np.mean([query in chosen[:k] for chosen in every_list(distances, range(6))])
            for query, distances in enumerate(all_distances(lists))
        ]
        assert found_share(lists, np.arange(6), k) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("seed", range(6))
def test_a_place_is_found_again_by_the_mean_over_all_orders(monkeypatch, seed):
    monkeypatch.setattr(order, "_PAIRS", 14)
    rng = np.random.default_rng(seed)
    codes_NY = pack(rng.random((7, 8)) < 0.15)
    places_N, dates_N = rng.integers(0, 3, 7), rng.integers(0, 2, 7)
    places_N[:2], dates_N[:2] = 0, (0, 1)
    lists = code_lists(codes_NY, codes_NY)
    expected = []
    for query, distances in enumerate(all_distances(lists)):
        right = {row for row in range(7) if places_N[row] == places_N[query]}
        right -= {row for row in range(7) if dates_N[row] == dates_N[query]}
        others = [row for row in range(7) if row != query]
        if right:
            chances = [bool(right & set(chosen[:2])) for chosen in every_list(distances, others)]
            expected.append(np.mean(chances))
    assert place_recall(lists, places_N, dates_N, 2) == pytest.approx(np.mean(expected))


def test_places_of_one_date_have_no_figure():
    codes_NY = np.zeros((4, 1), np.uint8)
    assert place_recall(code_lists(codes_NY, codes_NY), np.zeros(4, int), np.zeros(4, int)) is None
    everything = place_recall(code_lists(codes_NY, codes_NY), np.arange(4) // 2, np.arange(4))
    assert everything == 1, "fewer than ten others: all are looked at"


def test_what_two_lists_share():
    rng = np.random.default_rng(3)
    cosine, lists = make_lists(rng)
    shares_Q = shared_nearest(cosine, lists, 2)
    pairs = zip(all_distances(cosine), all_distances(lists), strict=True)
    for query, (first, second) in enumerate(pairs):
        others = [row for row in range(7) if row != query]
        assert shares_Q[query] == pytest.approx(mean_over_orders(first, second, others, 2, 2))


def test_ten_thousand_chips_in_bounded_memory():
    """A tenth of the queries: what memory holds doesn't depend on them."""
    rng = np.random.default_rng(1)
    codes_NY, features_NF = rng.integers(0, 256, (10_000, 32), np.uint8), rng.random((10_000, 64))
    labels_N, code = np.arange(10_000) % 30, CodeSpec((CodePart("kind", 64, 3), CodePart("look", 192)))
    cosine = cosine_lists(features_NF, features_NF)
    few = order.Lists(1000, 10_000, cosine.distances)
    tracemalloc.start()
    started = time.process_time()
    (measured,) = order_figures(few, labels_N, [code_lists(codes_NY, codes_NY, code)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < measured.kept_recall10 < 0.05, "chance: 100 of 10 000"
    assert peak < 300e6
    assert time.process_time() - started < 20
