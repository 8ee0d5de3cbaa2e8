"""What is measured, on plain arrays: no Ray, no pictures."""

import numpy as np
import pytest

from model.codes import pack
from model.retrieval import LabelledCodes, retrieve
from model.spec import CodePart, CodeSpec
from pipelines.errors import ConfigError
from pipelines.evaluate.measure import (
    check_splits,
    count_classes,
    curve,
    has_pair,
    measure,
    select_classes,
)
from pipelines.evaluate.methods import EncodedChips, make_methods

NAMES = ("field", "forest", "harbour", "river")
ONE_PART = CodeSpec((CodePart("kind", 16),))
TWO_PARTS = CodeSpec((CodePart("kind", 8, 3), CodePart("look", 8)))


def make_chips(labels_N, seed=0, num_bits=16):
    """Chips whose features lie about the mean of their classes' centres, and whose codes are their signs."""
    rng = np.random.default_rng(seed)
    centres_CF = np.random.default_rng(9).normal(0, 1, (4, 24))
    shares_NC = np.eye(4)[labels_N] if labels_N.ndim == 1 else labels_N / labels_N.sum(axis=1, keepdims=True)
    features_NF = (shares_NC @ centres_CF + rng.normal(0, 0.5, (len(labels_N), 24))).astype(np.float32)
    return EncodedChips(features_NF, pack(features_NF[:, :num_bits] > 0), labels_N)


def measured_of(test, train, unseen, code=ONE_PART):
    return measure(make_methods(train.features_NF, code, seed=0), test, train, NAMES, unseen)


def test_three_protocols_where_classes_are_unseen():
    test, train = make_chips(np.arange(60) % 4), make_chips(np.arange(60) % 2, seed=1)
    measured = measured_of(test, train, ["harbour", "river"])
    first, second, third = measured.protocols
    assert [protocol.name for protocol in measured.protocols] == [
        "leave one out in test",
        "test asks train",
        "unseen classes, leave one out",
    ]
    assert (first.queries, first.unanswerable, first.database) == (60, 0, 60)
    assert (second.queries, second.unanswerable, second.database) == (30, 30, 60)
    assert (third.queries, third.unanswerable, third.database) == (30, 0, 30)
    for figures in third.methods:
        assert set(figures.map_of_class) == {"harbour", "river"}
        assert figures.map_all > 0.5
    assert np.mean(measured.average_precision_Q) == pytest.approx(first.methods[0].map_all)


@pytest.mark.parametrize("unseen", [[], ["river"]])
def test_no_protocol_where_no_two_chips_are_unseen(unseen):
    """Of the river there is one chip."""
    test, train = make_chips(np.array([3, *np.arange(40) % 3])), make_chips(np.arange(40) % 3, seed=1)
    measured = measured_of(test, train, unseen)
    assert len(measured.protocols) == 2
    assert np.isnan(measured.average_precision_Q[0])
    assert not np.isnan(measured.average_precision_Q[1:]).any()


def test_several_labels_a_chip():
    rng = np.random.default_rng(0)
    test_NC, train_NC = (np.eye(4, dtype=bool)[np.arange(60) % 4] | (rng.random((60, 4)) < 0.2) for _ in "ab")
    measured = measured_of(make_chips(test_NC), make_chips(train_NC, seed=1), ["harbour", "river"])
    first, _, third = measured.protocols
    for figures in first.methods:
        assert set(figures.map_of_class) == set(NAMES)
    for figures in third.methods:
        assert set(figures.map_of_class) == {"harbour", "river"}, "the unseen classes alone make chips alike"
    assert third.database == test_NC[:, 2:].any(axis=1).sum()
    pairs = sum((a & b).any() for i, a in enumerate(test_NC) for j, b in enumerate(test_NC) if i != j)
    assert sum(first.same_class) == pairs
    assert sum(first.same_class) + sum(first.different_class) == 60 * 59


def test_each_part_stands_beside_both():
    test, train = make_chips(np.arange(60) % 4), make_chips(np.arange(60) % 4, seed=1)
    protocol = measured_of(test, train, [], TWO_PARTS).protocols[0]
    assert [(figures.method, figures.bits) for figures in protocol.methods] == [
        ("this bundle", 16),
        ("this bundle, kind alone", 8),
        ("this bundle, look alone", 8),
        ("cosine, float features", None),
        ("sign of all features", 24),
        ("PCA + sign", 16),
        ("ITQ", 16),
    ]
    kind_NY, look_NY = test.codes_NY[:, :1], test.codes_NY[:, 1:]
    weighted_NY = np.concatenate([kind_NY, kind_NY, kind_NY, look_NY], axis=1)
    for figures, codes_NY in zip(protocol.methods, (weighted_NY, kind_NY, look_NY), strict=False):
        expected = retrieve(LabelledCodes(codes_NY, test.labels_N))
        assert figures.map_at_k == pytest.approx(expected.ranking.map_at_k)
        assert figures.precision_within == pytest.approx(expected.precision_within_D.tolist())
        assert figures.distinct_ratio == len(np.unique(codes_NY, axis=0)) / 60
    assert len(protocol.same_class) == 3 * 8 + 8 + 1, "by weighted distance"


def test_something_to_find():
    assert has_pair(np.array([1, 2, 1]))
    assert not has_pair(np.array([1, 2]))
    assert not has_pair(np.array([], int))
    assert has_pair(np.array([[1, 0], [1, 1]], bool))
    assert not has_pair(np.array([[1, 0], [0, 1]], bool))


def test_select_classes():
    by_id = select_classes(make_chips(np.array([0, 1, 2, 1])), [1, 3])
    assert by_id.labels_N.tolist() == [1, 1]
    labels_NC = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]], bool)
    by_set = select_classes(make_chips(labels_NC), [1, 3])
    assert by_set.labels_N.astype(int).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert by_set.codes_NY.tolist() == make_chips(labels_NC).codes_NY[[0, 2]].tolist()
    assert len(select_classes(make_chips(labels_NC), []).labels_N) == 0


def test_curves_keep_their_ends_and_little_between():
    chips = make_chips(np.arange(60) % 4)
    measured = measured_of(chips, chips, [])
    for figures in measured.protocols[0].methods:
        points = np.array(figures.precision_recall)
        assert (np.diff(points[:, 0]) >= 0).all()
        assert points[-1] == pytest.approx([1, 14 * 15 * 4 / (60 * 59)]), "all pairs"
        assert len(points) <= 400
    own = retrieve(
        LabelledCodes(chips.codes_NY, chips.labels_N),
    )
    by_radius = list(zip(own.recall_by_radius.tolist(), own.precision_by_radius.tolist(), strict=True))
    assert set(curve(own)) <= set(by_radius)
    figures = measured.protocols[0].methods[0]
    assert figures.precision_within == own.precision_within_D.tolist()
    assert figures.precision_within[2] == figures.precision_within_2


@pytest.mark.parametrize("multi_label", [True, False])
def test_splits_with_nothing_to_find(multi_label):
    def labels(*ids):
        return np.eye(4, dtype=bool)[list(ids)] if multi_label else np.array(ids)

    assert count_classes(labels(1, 1, 3), 4).tolist() == [0, 2, 0, 1]
    check_splits(labels(0, 1, 1), labels(1, 2), 4, "s3://b/labels.csv")
    with pytest.raises(ConfigError, match=r"labels.csv: no class has chips both in the split test and in"):
        check_splits(labels(0, 1, 1), labels(2, 3), 4, "s3://b/labels.csv")
    with pytest.raises(ConfigError, match="no class has two chips in the split test"):
        check_splits(labels(0, 1), labels(1, 2), 4, "s3://b/labels.csv")
