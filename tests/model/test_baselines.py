import numpy as np
import pytest

from model import baselines
from model.baselines import fit_itq, fit_pca, fit_sign, retrieve_by_cosine
from model.codes import unpack
from model.quantise import unit_length
from model.retrieval import LabelledCodes, retrieve


@pytest.fixture
def clusters():
    """Features of three classes, as pooled ones are: not below 0."""
    rng = np.random.default_rng(0)
    labels_N = np.repeat(np.arange(3), 40)
    centres_CF = rng.random((3, 24))
    features_NF = np.abs(centres_CF[labels_N] + rng.normal(0, 0.15, (120, 24))).astype(np.float32)
    return features_NF, labels_N


def quantisation_error(codes, features_NF):
    outputs_NK = (unit_length(features_NF) - codes.mean_F) @ codes.projection_FK
    outputs_NK /= np.abs(outputs_NK).mean()
    return np.mean((outputs_NK - np.sign(outputs_NK)) ** 2)


def test_itq_rotates_pca_towards_its_signs(clusters):
    features_NF, _ = clusters
    pca, itq = fit_pca(features_NF, 8), fit_itq(features_NF, 8, seed=0)
    assert np.allclose(itq.projection_FK.T @ itq.projection_FK, np.eye(8)), "still orthonormal"
    span_FF = pca.projection_FK @ pca.projection_FK.T
    assert np.allclose(span_FF @ itq.projection_FK, itq.projection_FK), "within the same components"
    assert quantisation_error(itq, features_NF) < quantisation_error(pca, features_NF)
    again = fit_itq(features_NF, 8, seed=0)
    assert np.array_equal(itq.projection_FK, again.projection_FK)


def test_pca_keeps_the_directions_of_most_variance(clusters):
    features_NF, _ = clusters
    centred_NF = unit_length(features_NF) - unit_length(features_NF).mean(axis=0)
    _, _, expected_FF = np.linalg.svd(centred_NF)
    cosines_K = np.abs((fit_pca(features_NF, 8).projection_FK * expected_FF[:8].T).sum(axis=0))
    assert np.allclose(cosines_K, 1)


def test_codes_have_their_lengths_and_beat_chance(clusters):
    features_NF, labels_N = clusters
    rows_N = np.arange(len(labels_N))
    for codes, num_bytes in [
        (fit_sign(features_NF[:, :21]), 3),
        (fit_pca(features_NF[:, :21], 16), 2),
        (fit_itq(features_NF[:, :21], 16, seed=0), 2),
    ]:
        codes_NY = codes.encode(features_NF[:, :21])
        assert codes_NY.shape == (120, num_bytes)
        assert (
            retrieve(
                LabelledCodes(codes_NY, labels_N), LabelledCodes(codes_NY, labels_N), rows_N
            ).ranking.map_all
            > 0.45
        )  # chance is 1 / 3
    signs_NK = unpack(fit_sign(features_NF[:, :21]).encode(features_NF[:, :21]))
    assert not signs_NK[:, 21:].any(), "bits that no feature has stay off"


def test_fewer_features_than_bits():
    with pytest.raises(ValueError, match="4 feature dimensions have no 8 principal components"):
        fit_itq(np.eye(4), 8, seed=0)


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("leave_one_out", [True, False])
def test_cosine_against_the_definition(clusters, leave_one_out, multi_label):
    features_NF, labels_N = clusters
    if multi_label:
        labels_N = np.eye(3, dtype=bool)[labels_N] | (np.random.default_rng(1).random((120, 3)) < 0.2)
    queries_Q = np.arange(0, 120, 7)
    own_rows_Q = queries_Q if leave_one_out else None
    measured = retrieve_by_cosine(
        features_NF[queries_Q], labels_N[queries_Q], features_NF, labels_N, own_rows_Q
    )
    expected, same, different = [], [], []
    for query in queries_Q:
        similarity_N = np.array(
            [
                row @ features_NF[query] / np.linalg.norm(row) / np.linalg.norm(features_NF[query])
                for row in features_NF.astype(np.float64)
            ]
        )
        order = [row for row in np.argsort(similarity_N)[::-1] if not (leave_one_out and row == query)]
        if multi_label:
            relevant_N = np.array([(labels_N[row] & labels_N[query]).any() for row in order])
        else:
            relevant_N = labels_N[order] == labels_N[query]
        expected.append((np.cumsum(relevant_N) / np.arange(1, len(order) + 1))[relevant_N].mean())
        same += similarity_N[order][relevant_N].tolist()
        different += similarity_N[order][~relevant_N].tolist()
    assert measured.ranking.map_all == pytest.approx(np.mean(expected), abs=1e-4)
    assert measured.ranking.average_precision_Q == pytest.approx(np.array(expected), abs=1e-3)
    for pairs_D, similarities in ((measured.same_D, same), (measured.different_D, different)):
        counts, _ = np.histogram(similarities, bins=len(pairs_D), range=(-1, 1))
        within_D, expected_D = np.cumsum(pairs_D), np.cumsum(counts[::-1])
        assert within_D[-1] == len(similarities)
        assert np.abs(within_D - expected_D).max() <= 2, "float32 moves a pair over a bin's edge at most"


def test_blocks_change_nothing(clusters, monkeypatch):
    features_NF, labels_N = clusters
    whole = fit_pca(features_NF, 16).encode(features_NF)
    cosine = retrieve_by_cosine(features_NF, labels_N, features_NF, labels_N)
    monkeypatch.setattr(baselines, "_ROWS", 7)
    monkeypatch.setattr(baselines, "_PAIRS", 1000)
    assert np.array_equal(fit_pca(features_NF, 16).encode(features_NF), whole)
    again = retrieve_by_cosine(features_NF, labels_N, features_NF, labels_N)
    assert again.ranking.map_all == pytest.approx(cosine.ranking.map_all, abs=1e-5)


def test_equal_features_are_tied():
    features_NF, labels_N = np.ones((30, 5)), np.arange(30) % 3
    ranking = retrieve_by_cosine(features_NF, labels_N, features_NF, labels_N, np.arange(30)).ranking
    assert ranking.precision_at_k[10] == pytest.approx(9 / 29)
    assert np.isfinite(ranking.map_all)
