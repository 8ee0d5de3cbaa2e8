"""Look bits against plain reference code, and where there is little to fit on."""

import math

import numpy as np
import pytest
import torch

from model import look
from model.codes import unpack
from model.look import LookHead, inverse_root, nearest_pairs, quantising_projection, view_covariance
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec


@pytest.fixture
def features_NVD():
    """Pooled features of 200 chips in 3 views: some directions tell the chips apart, some only the views."""
    rng = np.random.default_rng(0)
    shown_ND = rng.normal(0, 1, (200, 24)) * np.linspace(2, 0.2, 24)
    turned_NVD = rng.normal(0, 1, (200, 3, 24)) * np.linspace(0.1, 2, 24)
    return np.abs(3 + shown_ND[:, None] + turned_NVD).astype(np.float32)


def reference(features_NVD, bits, seed):
    """The definition, a chip at a time; numpy's own eigenvectors and singular vectors."""
    units = [[view / math.sqrt((view.astype(float) ** 2).sum()) for view in chip] for chip in features_NVD]
    mean = np.mean([view for chip in units for view in chip], axis=0)
    of_views = sum(np.cov(np.asarray(chip).T) for chip in units) / len(units)
    whitened = reference_whitened(units, mean, of_views)
    cosines = whitened @ whitened.T - 9 * np.eye(len(units))
    differences = np.asarray(
        [units[i][0] - units[j][0] for i, row in enumerate(cosines) for j in np.argsort(-row)[:3]]
    )
    of_nearest = differences.T @ differences / len(differences)
    whitened = reference_whitened(
        units, mean, of_views / np.trace(of_views) + of_nearest / np.trace(of_nearest)
    )
    centred = whitened - whitened.mean(axis=0)
    components = np.linalg.svd(centred)[2][:bits].T
    components = components * np.sign([column[np.abs(column).argmax()] for column in components.T])
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((bits, bits)))[0]
    for _ in range(50):
        signs = np.where(centred @ components @ rotation > 0, 1, -1)
        left, _, right = np.linalg.svd((centred @ components).T @ signs)
        rotation = left @ right
    outputs = centred @ components @ rotation
    return outputs / outputs.std(axis=0)


def reference_whitened(units, mean, scatter):
    values, vectors = np.linalg.eigh(scatter + np.trace(scatter) / len(scatter) * np.eye(len(scatter)))
    whitening = vectors @ np.diag(values**-0.5) @ vectors.T
    whitened = [whitening @ (chip[0] - mean) for chip in units]
    return np.asarray([vector / np.linalg.norm(vector) for vector in whitened])


def test_outputs_are_those_of_the_reference(features_NVD):
    head = LookHead(24, 16)
    head.fit(features_NVD, seed=3)
    outputs_NK = head(torch.from_numpy(features_NVD[:, 0])).numpy()
    np.testing.assert_allclose(outputs_NK, reference(features_NVD, 16, seed=3), atol=1e-4)
    assert outputs_NK.dtype == np.float32


def test_whitening_shortens_what_differs_between_views(features_NVD):
    whitening_DD = inverse_root(view_covariance(features_NVD.astype(np.float64)))
    offsets_XD = (features_NVD - features_NVD.mean(axis=1, keepdims=True)).reshape(-1, 24)
    before_D, after_D = (
        np.linalg.eigvalsh((offsets_XD @ matrix_DD).T @ (offsets_XD @ matrix_DD) / 400)
        for matrix_DD in (np.eye(24), whitening_DD)
    )
    np.testing.assert_allclose(after_D, before_D / (before_D + before_D.mean()), rtol=1e-4)


def test_the_nearest_chips_are_those_of_all_cosines():
    rng = np.random.default_rng(0)
    units_ND = rng.normal(size=(1234, 8))
    units_ND /= np.linalg.norm(units_ND, axis=1, keepdims=True)
    found = sorted(map(tuple, nearest_pairs(units_ND).tolist()))
    cosines_NN = units_ND @ units_ND.T - 9 * np.eye(1234)
    assert found == sorted((i, j) for i in range(1234) for j in np.argsort(-cosines_NN[i])[:3].tolist())


def test_of_many_chips_some_ask_for_their_nearest_among_all(monkeypatch):
    monkeypatch.setattr(look, "_MOST_ASKED", 11)
    units_ND = np.random.default_rng(0).normal(size=(101, 8))
    pairs_X2 = nearest_pairs(units_ND)
    assert pairs_X2[:, 0].tolist() == [row for row in range(0, 101, 10) for _ in range(3)]
    assert set(pairs_X2[:, 1].tolist()) - set(range(0, 101, 10))


def test_the_rotation_brings_outputs_near_their_signs(features_NVD):
    centred_ND = features_NVD[:, 0] - features_NVD[:, 0].mean(axis=0)
    outputs_NK = centred_ND @ quantising_projection(
        centred_ND.astype(np.float64), 8, np.random.default_rng(0)
    )
    np.testing.assert_allclose(outputs_NK.std(axis=0), 1)
    _, components_DD = np.linalg.eigh(centred_ND.T @ centred_ND)
    plain_NK = centred_ND @ components_DD[:, -8:]

    def error(outputs_NK):
        scaled_NK = outputs_NK / np.abs(outputs_NK).mean()
        return np.mean((scaled_NK - np.sign(scaled_NK)) ** 2)

    assert error(outputs_NK) < error(plain_NK)


def test_the_same_features_give_the_same_bytes_whatever_the_threads(features_NVD):
    states, threads = [], torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            head = LookHead(24, 16)  # starts from other random numbers each time
            head.fit(features_NVD, seed=0)
            states.append(head.state_dict())
    finally:
        torch.set_num_threads(threads)
    for state in states[1:]:
        assert all(torch.equal(value, states[0][name]) for name, value in state.items())


def test_few_chips_still_give_all_the_bits(features_NVD):
    head = LookHead(24, 24)
    head.fit(features_NVD[:5, :2], seed=0)  # 4 directions, 24 bits
    outputs_NK = head(torch.from_numpy(features_NVD[:, 0])).numpy()
    assert np.isfinite(outputs_NK).all()
    assert len(np.unique(outputs_NK > 0, axis=0)) > 100


def test_chips_that_are_all_alike_are_no_error():
    head = LookHead(8, 8)
    head.fit(np.ones((4, 2, 8), np.float32), seed=0)
    assert torch.isfinite(head(torch.rand(3, 8))).all()


@pytest.mark.parametrize("shape", [(1, 2, 8), (5, 1, 8)])
def test_a_single_chip_or_view_is_refused(shape):
    with pytest.raises(ValueError, match=f"not {shape[1]} of {shape[0]}"):
        LookHead(8, 8).fit(np.ones(shape, np.float32), seed=0)


def test_of_many_chips_some_are_taken(features_NVD, monkeypatch):
    monkeypatch.setattr(look, "_MOST_CHIPS", 50)
    head = LookHead(24, 8)
    head.fit(features_NVD, seed=0)
    rows = np.sort(np.random.default_rng(0).choice(200, 50, replace=False))
    units_ND = features_NVD[rows] / np.linalg.norm(features_NVD[rows], axis=-1, keepdims=True)
    np.testing.assert_allclose(head.mean_D, units_ND.mean(axis=(0, 1)), rtol=1e-5)


def test_a_network_encodes_with_what_was_fitted():
    torch.manual_seed(0)
    spec = NetworkSpec(backbone="resnet18", node="layer1", head="none", kind_bits=0, look_bits=32)
    network = HashNetwork(spec, InputSpec(size=16)).eval()
    features_NVD = np.random.default_rng(0).random((40, 2, 64), np.float32)
    network.look.fit(features_NVD, seed=0)
    bits_NK = unpack(network.encode_features(features_NVD[:, 0]))
    expected_NK = reference(features_NVD, 32, seed=0)
    sure_NK = np.abs(expected_NK) > 1e-3
    np.testing.assert_array_equal(bits_NK[sure_NK], (expected_NK > 0)[sure_NK])
