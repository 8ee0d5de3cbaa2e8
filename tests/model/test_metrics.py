import itertools

import numpy as np
import pytest

from model.codes import hamming_distances, pack
from model.metrics import code_health, part_health, precision_at_k
from model.retrieval import LabelledCodes
from model.spec import CodePart, CodeSpec


def mean_over_all_orders(distances_N, relevant_N, k):
    """The definition: average precision@k over every order of tied codes."""
    shares = []
    for order in itertools.permutations(range(len(distances_N))):
        ranked = sorted(order, key=lambda row: distances_N[row])
        shares.append(np.mean([relevant_N[row] for row in ranked[:k]]))
    return np.mean(shares)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_ties_are_averaged(k):
    rng = np.random.default_rng(k)
    codes_NY = pack(rng.random((6, 8)) < 0.2)  # few bits on: many ties
    labels_N, query_labels_Q = rng.integers(0, 2, 6), np.array([0, 1])
    queries_QY = pack(rng.random((2, 8)) < 0.2)
    distances_QN = hamming_distances(queries_QY, codes_NY)
    expected = np.mean(
        [mean_over_all_orders(distances_QN[q], labels_N == query_labels_Q[q], k) for q in range(2)]
    )
    measured = precision_at_k(LabelledCodes(queries_QY, query_labels_Q), LabelledCodes(codes_NY, labels_N), k)
    assert measured == pytest.approx(expected)


def test_a_query_does_not_find_itself():
    codes_NY, labels_N = pack(np.eye(8, dtype=bool)), np.arange(8)
    assert precision_at_k(LabelledCodes(codes_NY, labels_N), LabelledCodes(codes_NY, labels_N), 1) == 1
    assert (
        precision_at_k(
            LabelledCodes(codes_NY, labels_N), LabelledCodes(codes_NY, labels_N), 1, own_rows_Q=np.arange(8)
        )
        == 0
    )


def test_too_few_codes_to_find():
    codes_NY = pack(np.eye(8, dtype=bool))
    with pytest.raises(ValueError, match="needs 9 codes"):
        precision_at_k(LabelledCodes(codes_NY, np.arange(8)), LabelledCodes(codes_NY, np.arange(8)), 9)


def test_health_of_random_and_of_collapsed_codes():
    rng = np.random.default_rng(0)
    good = code_health(pack(rng.random((4000, 64)) < 0.5))
    assert good.distinct_ratio == 1
    assert good.mean_bit_on == pytest.approx(0.5, abs=0.01)
    assert good.bit_entropy > 0.999
    assert good.mean_abs_correlation < 0.03
    collapsed = code_health(np.tile(np.array([[255, 0]], np.uint8), (100, 1)))
    assert collapsed.distinct_ratio == 0.01
    assert (collapsed.bit_entropy, collapsed.mean_abs_correlation) == (0, 0)
    assert collapsed.worst_bit_on in (0, 1)


def test_parts_have_a_health_of_their_own():
    rng = np.random.default_rng(0)
    codes_NY = rng.integers(0, 256, (200, 6), np.uint8)
    codes_NY[:, 2:] = 7
    health = part_health(codes_NY, CodeSpec((CodePart("kind", 16, 3), CodePart("look", 32))))
    assert health == {"kind": code_health(codes_NY[:, :2]), "look": code_health(codes_NY[:, 2:])}
    assert (health["kind"].bit_entropy > 0.9, health["look"].bit_entropy) == (True, 0)


@pytest.mark.parametrize("weight", [1, 2, 3])
def test_precision_weighs_the_parts(weight):
    """As if each kind bit stood there as often as it counts."""
    rng = np.random.default_rng(weight)
    codes_NY, labels_N, rows_N = pack(rng.random((40, 24)) < 0.2), rng.integers(0, 3, 40), np.arange(40)
    code = CodeSpec((CodePart("kind", 8, weight), CodePart("look", 16)))
    repeated_NY = np.concatenate([codes_NY[:, :1]] * weight + [codes_NY[:, 1:]], axis=1)
    measured = precision_at_k(
        LabelledCodes(codes_NY, labels_N), LabelledCodes(codes_NY, labels_N), 5, rows_N, code
    )
    assert measured == precision_at_k(
        LabelledCodes(repeated_NY, labels_N), LabelledCodes(repeated_NY, labels_N), 5, rows_N
    )
