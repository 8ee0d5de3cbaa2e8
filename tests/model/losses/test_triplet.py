"""Seed B's losses against plain loops."""

import math

import pytest
import torch

from model.loss_spec import TripletSpec
from model.losses.triplet import TripletLoss

BITS = 12


@pytest.fixture
def batch():
    torch.manual_seed(0)
    outputs_BK = torch.randn(8, BITS, dtype=torch.float64, requires_grad=True)
    return outputs_BK, torch.eye(3).repeat(3, 1)[:8]


def triplets(h_BK, labels_BC, margin):
    """Each semi-hard (hinge, anchor, positive, negative), by three nested loops."""
    found = []
    for a in range(len(h_BK)):
        for p in range(len(h_BK)):
            for n in range(len(h_BK)):
                if a == p or not labels_BC[a] @ labels_BC[p] or labels_BC[a] @ labels_BC[n]:
                    continue
                near = ((h_BK[a] - h_BK[p]) ** 2).sum().item() / BITS
                far = ((h_BK[a] - h_BK[n]) ** 2).sum().item() / BITS
                if near < far < near + margin:
                    found.append((near - far + margin, a, p, n))
    return found


@pytest.mark.parametrize("margin", [0.05, 0.5])
def test_triplet_term_is_the_mean_over_semi_hard_triplets(batch, margin):
    outputs_BK, labels_BC = batch
    found = triplets(torch.sigmoid(outputs_BK), labels_BC, margin)
    terms = TripletLoss(TripletSpec(margin=margin))(outputs_BK, labels_BC)
    assert terms["triplet"].item() == pytest.approx(sum(hinge for hinge, *_ in found) / len(found))


def test_isometric_term_compares_distances_of_outputs_and_codes(batch):
    outputs_BK, labels_BC = batch
    h_BK = torch.sigmoid(outputs_BK).detach()
    b_BK = (h_BK > 0.5).double()
    gaps = []
    for _, a, p, n in triplets(h_BK, labels_BC, 0.2):
        for other in (p, n):
            real = ((h_BK[a] - h_BK[other]) ** 2).sum().item()
            code = ((b_BK[a] - b_BK[other]) ** 2).sum().item()
            gaps.append((real / BITS - code / BITS) ** 2)
    terms = TripletLoss(TripletSpec(isometric_weight=2, pair_weight=3))(outputs_BK, labels_BC)
    assert terms["isometric"].item() == pytest.approx(6 * sum(gaps) / len(gaps), rel=1e-5)


def test_pointwise_push_and_equal_terms(batch):
    outputs_BK, labels_BC = batch
    h_BK = torch.sigmoid(outputs_BK).tolist()
    terms = TripletLoss(TripletSpec(isometric_weight=1, push_weight=1))(outputs_BK, labels_BC)
    flat = [value for row in h_BK for value in row]
    expected = [math.log(math.cosh(value - (value > 0.5))) for value in flat]
    assert terms["pointwise"].item() == pytest.approx(sum(expected) / len(flat))
    assert terms["push"].item() == pytest.approx(-sum((value - 0.5) ** 2 for value in flat) / len(flat))
    means = [sum(row[k] for row in h_BK) / 8 for k in range(BITS)]
    assert terms["equal"].item() == pytest.approx(sum((mean - 0.5) ** 2 for mean in means) / BITS)


def test_gradients_are_those_of_finite_differences(batch):
    outputs_BK, labels_BC = batch
    loss = TripletLoss(TripletSpec(margin=3))
    assert torch.autograd.gradcheck(lambda x: sum(loss(x, labels_BC).values()), outputs_BK)


def test_nothing_to_learn_is_no_error():
    outputs_BK = torch.randn(3, BITS, requires_grad=True)
    terms = TripletLoss(TripletSpec())(outputs_BK, torch.ones(3, 1))
    assert terms["triplet"].item() == 0
    sum(terms.values()).backward()
    assert torch.isfinite(outputs_BK.grad).all()
