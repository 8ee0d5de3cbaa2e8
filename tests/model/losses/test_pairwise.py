"""Seed A's losses against plain loops and against the gradient that the patent states."""

import itertools

import pytest
import torch

from model.loss_spec import PairwiseSpec
from model.losses.pairwise import PairwiseLoss


@pytest.fixture
def batch():
    torch.manual_seed(0)
    outputs_BK = torch.randn(9, 16, dtype=torch.float64, requires_grad=True)
    labels_BC = torch.zeros(9, 4)
    labels_BC[torch.arange(9), torch.arange(9) % 3] = 1
    labels_BC[0, 3] = labels_BC[1, 3] = 1  # of two classes: similar where they share one
    return outputs_BK, labels_BC


def similar(labels_BC, i, j):
    return bool((labels_BC[i] * labels_BC[j]).sum() > 0)


@pytest.mark.parametrize("margin", [0.5, 2.0])
@pytest.mark.parametrize("balance", [False, True])
def test_pair_term_is_the_mean_over_pairs(batch, margin, balance):
    outputs_BK, labels_BC = batch
    v_BK = torch.tanh(outputs_BK).detach()
    near, far = [], []
    for i, j in itertools.combinations(range(9), 2):
        d2 = float(((v_BK[i] - v_BK[j]) ** 2).sum())
        if similar(labels_BC, i, j):
            near.append(d2 / 2)
        else:
            far.append(max(margin * 16 - d2, 0) / 2)
    terms = PairwiseLoss(PairwiseSpec(margin=margin, balance=balance))(outputs_BK, labels_BC)
    counts = (2 * len(near), 2 * len(far)) if balance else (36, 36)
    assert terms["similar"].item() == pytest.approx(sum(near) / counts[0])
    assert terms["dissimilar"].item() == pytest.approx(sum(far) / counts[1])


def test_gradient_is_the_patents():
    """Formulas 3 and 4: for v1, S (v1 - v2) - (1 - S) [d2 < t] (v1 - v2)."""
    torch.manual_seed(1)
    for labels, margin in ((torch.ones(2, 1), 2.0), (torch.eye(2), 4.0), (torch.eye(2), 1e-3)):
        v_BK = (torch.rand(2, 8, dtype=torch.float64) * 1.8 - 0.9).requires_grad_()
        terms = PairwiseLoss(PairwiseSpec(margin=margin))(torch.atanh(v_BK), labels)
        (terms["similar"] + terms["dissimilar"]).backward()
        difference_K = (v_BK[0] - v_BK[1]).detach()
        is_similar = bool(labels[0] @ labels[1])
        within = float((difference_K**2).sum()) < margin * 8
        expected_K = difference_K if is_similar else -difference_K * within
        torch.testing.assert_close(v_BK.grad[0], expected_K)
        torch.testing.assert_close(v_BK.grad[1], -expected_K)


def test_uniform_term(batch):
    outputs_BK, labels_BC = batch
    v_BK = torch.tanh(outputs_BK).tolist()
    expected = sum((sum(v[k] for v in v_BK) / 9) ** 2 for k in range(16)) / 16
    terms = PairwiseLoss(PairwiseSpec(uniform_weight=3))(outputs_BK, labels_BC)
    assert terms["uniform"].item() == pytest.approx(3 * expected)


def test_quantisation_term_and_that_zero_is_minus_one():
    outputs_BK = torch.atanh(torch.tensor([[0.0, 0.5, -0.25, 0.9]], dtype=torch.float64))
    gaps = (1, 0.5, 0.75, 0.1)
    terms = PairwiseLoss(PairwiseSpec())(outputs_BK, torch.ones(1, 1))
    assert terms["quantisation"].item() == pytest.approx(sum(gap**2 for gap in gaps) / 4)
