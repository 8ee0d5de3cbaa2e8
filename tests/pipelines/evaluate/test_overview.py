"""What each method knows, on plain arrays: each column is the figure that its name says."""

import numpy as np
import pytest

from model.codes import pack
from model.order import code_lists, cosine_lists, found_share, order_figures, place_recall
from model.retrieval import LabelledCodes, retrieve
from model.spec import CodePart, CodeSpec
from pipelines.evaluate.measure import measure
from pipelines.evaluate.methods import EncodedChips, make_methods
from pipelines.evaluate.overview import PlacedChips, Turned, measure_overviews

NAMES = ("field", "forest", "harbour")
CODE = CodeSpec((CodePart("kind", 8, 3), CodePart("look", 16)))
COUNT = 150


def make_chips(seed, labels_N):
    rng = np.random.default_rng(seed)
    centres_CF = np.random.default_rng(9).normal(0, 1, (3, 24))
    features_NF = (centres_CF[labels_N] + rng.normal(0, 0.7, (len(labels_N), 24))).astype(np.float32)
    return EncodedChips(features_NF, pack(features_NF > 0), labels_N)


@pytest.fixture(scope="module")
def chips():
    return make_chips(0, np.arange(COUNT) % 3)


@pytest.fixture(scope="module")
def turned(chips):
    """Every other chip, a little changed."""
    rows_Q = np.arange(0, COUNT, 2)
    features_QF = (
        chips.features_NF[rows_Q] + np.float32(0.3) * make_chips(7, chips.labels_N).features_NF[rows_Q]
    )
    return Turned(EncodedChips(features_QF, pack(features_QF > 0), chips.labels_N[rows_Q]), rows_Q)


@pytest.fixture(scope="module")
def placed():
    """Forty places at two dates."""
    placed = make_chips(5, np.zeros(80, int))
    return PlacedChips(placed, np.arange(80) % 40, np.arange(80) // 40)


def measured(chips, turned, placed, unseen):
    train = make_chips(1, chips.labels_N)
    methods = make_methods(train.features_NF, CODE, seed=0)
    protocols = measure(methods, chips, train, NAMES, unseen).protocols
    trained = [NAMES.index(name) for name in NAMES if name not in unseen] if unseen else None
    return {row.method: row for row in measure_overviews(methods, protocols, chips, turned, placed, trained)}


@pytest.fixture(scope="module")
def rows(chips, turned, placed):
    return measured(chips, turned, placed, ["harbour"])


@pytest.mark.parametrize(
    ("method", "compare", "bits"),
    [
        ("this bundle", "both", 24),
        ("this bundle, kind alone", "kind", 8),
        ("this bundle, look alone", "look", 16),
    ],
)
def test_the_bundle_and_its_parts(chips, turned, placed, rows, method, compare, bits):
    row = rows[method]
    assert (row.compare, row.bits) == (compare, bits)
    codes_NY, labels_N = chips.codes_NY, chips.labels_N
    for name, of_classes_N in (
        ("trained_map20", np.isin(labels_N, [0, 1])),
        ("unseen_map20", labels_N == 2),
    ):
        own_NY, own_N = codes_NY[of_classes_N], labels_N[of_classes_N]
        answers = retrieve(
            LabelledCodes(own_NY, own_N),
            code=CODE,
            compare=compare,
        )
        assert getattr(row, name) == pytest.approx(answers.ranking.map_at_k[20])
    cosine = cosine_lists(chips.features_NF, chips.features_NF)
    (order,) = order_figures(cosine, labels_N, [code_lists(codes_NY, codes_NY, CODE, compare)])
    assert row.in_class_recall10 == order.in_class_recall10
    assert row.kept_recall10 == order.kept_recall10
    assert row.tied10 == order.tied10
    place = {"both": slice(0, 3), "kind": slice(0, 1), "look": slice(1, 3)}[compare]
    assert row.distinct == len(np.unique(codes_NY[:, place], axis=0)) / COUNT
    lists = code_lists(turned.chips.codes_NY, codes_NY, CODE, compare)
    assert row.turned_first == found_share(lists, turned.rows_Q, 1)
    assert row.turned_first10 == found_share(lists, turned.rows_Q, 10)
    of_places = code_lists(placed.chips.codes_NY, placed.chips.codes_NY, CODE, compare)
    assert row.place10 == place_recall(of_places, placed.places_N, placed.dates_N)


def test_the_baselines_have_the_same_figures(rows):
    assert set(rows) >= {"cosine, float features", "sign of all features", "PCA + sign", "ITQ"}
    cosine = rows["cosine, float features"]
    assert (cosine.bits, cosine.distinct, cosine.in_class_recall10, cosine.kept_recall10) == (
        None,
        None,
        1,
        1,
    )
    for row in rows.values():
        assert None not in (row.unseen_map20, row.in_class_recall10, row.turned_first, row.place10)
        assert 0 < row.turned_first <= row.turned_first10 <= 1


def test_where_all_classes_were_trained_on(chips, turned):
    row = measured(chips, turned, None, [])["this bundle"]
    codes_NY, labels_N = chips.codes_NY, chips.labels_N
    answers = retrieve(LabelledCodes(codes_NY, labels_N), code=CODE)
    assert row.trained_map20 == pytest.approx(answers.ranking.map_at_k[20])
    assert (row.unseen_map20, row.place10) == (None, None)


def test_where_no_class_was_trained_on(chips, turned):
    row = measured(chips, turned, None, list(NAMES))["this bundle"]
    codes_NY, labels_N = chips.codes_NY, chips.labels_N
    answers = retrieve(LabelledCodes(codes_NY, labels_N), code=CODE)
    assert row.trained_map20 is None
    assert row.unseen_map20 == pytest.approx(answers.ranking.map_at_k[20])
