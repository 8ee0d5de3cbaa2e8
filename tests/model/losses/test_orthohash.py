import math

import pytest
import torch
from torch.nn import functional as F

from model.loss_spec import OrthoHashSpec
from model.losses.orthohash import OrthoHashLoss, contrast, orthogonal_targets


@pytest.mark.parametrize(("num_classes", "num_bits"), [(2, 8), (16, 16), (17, 64), (30, 48), (100, 64)])
def test_targets_are_far_apart(num_classes, num_bits):
    targets_CK = orthogonal_targets(num_classes, num_bits)
    assert targets_CK.shape == (num_classes, num_bits)
    assert set(targets_CK.unique().tolist()) == {-1, 1}
    overlaps_CC = targets_CK @ targets_CK.T - num_bits * torch.eye(num_classes)
    if num_bits & (num_bits - 1) == 0 and num_classes <= num_bits:
        assert overlaps_CC.abs().max() == 0
    assert overlaps_CC.max() < 0.7 * num_bits


def test_loss_is_the_formula():
    torch.manual_seed(0)
    outputs_BK, labels_B = torch.randn(5, 16), torch.tensor([0, 1, 2, 3, 0])
    loss = OrthoHashLoss(OrthoHashSpec(margin=0.3, contrast_weight=0), 4, 16)
    total = 0.0
    for output_K, label in zip(outputs_BK, labels_B, strict=True):
        scores = []
        for number, target_K in enumerate(loss.targets_CK):
            cosine = float(output_K @ target_K / output_K.norm() / target_K.norm())
            scores.append(math.sqrt(2) * math.log(3) * (cosine - (0.3 if number == label else 0)))
        total += math.log(sum(map(math.exp, scores))) - scores[label]
    terms = loss(outputs_BK, F.one_hot(labels_B, 4).float())
    assert float(terms["orthohash"]) == pytest.approx(total / 5, rel=1e-5)


def test_several_labels_share_the_target():
    loss = OrthoHashLoss(OrthoHashSpec(margin=0, contrast_weight=0), 4, 16)
    both_1K = (loss.targets_CK[0] + loss.targets_CK[1])[None]
    labels_1C = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    between = loss(both_1K, labels_1C)["orthohash"]
    assert between < loss(loss.targets_CK[:1], labels_1C)["orthohash"]
    assert between < loss(loss.targets_CK[2:3], labels_1C)["orthohash"]


def test_training_on_it_reaches_the_targets():
    torch.manual_seed(0)
    loss = OrthoHashLoss(OrthoHashSpec(contrast_weight=0), 4, 16)
    outputs_BK = torch.randn(4, 16, requires_grad=True)
    optimizer = torch.optim.Adam([outputs_BK], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss(outputs_BK, torch.eye(4))["orthohash"].backward()
        optimizer.step()
    agreement_BC = (torch.sign(outputs_BK) @ loss.targets_CK.T).argmax(dim=1)
    assert agreement_BC.tolist() == [0, 1, 2, 3]


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="two classes"):
        OrthoHashLoss(OrthoHashSpec(), 1, 16)


def test_contrast_is_the_formula():
    torch.manual_seed(0)
    outputs_BK = torch.randn(6, 16)
    z = torch.tanh(outputs_BK)
    total = 0.0
    for i in range(6):
        cosines = {k: float(z[i] @ z[k] / z[i].norm() / z[k].norm()) / 0.3 for k in range(6) if k != i}
        other = i + 1 if i % 2 == 0 else i - 1  # rows 2i and 2i + 1 are views of one chip
        total -= math.log(math.exp(cosines[other]) / sum(math.exp(value) for value in cosines.values()))
    assert contrast(outputs_BK, 0.3).item() == pytest.approx(total / 6, rel=1e-5)


def test_contrast_is_a_term_of_its_own_with_its_weight():
    torch.manual_seed(0)
    outputs_BK, labels_BC = torch.randn(6, 16), torch.eye(3)[[0, 0, 1, 1, 2, 2]]
    terms = OrthoHashLoss(OrthoHashSpec(contrast_weight=3), 3, 16)(outputs_BK, labels_BC)
    assert terms["contrast"].item() == pytest.approx(3 * contrast(outputs_BK, 0.3).item())
    alone = OrthoHashLoss(OrthoHashSpec(contrast_weight=0), 3, 16)(outputs_BK, labels_BC)
    assert alone == {"orthohash": terms["orthohash"]}


def test_equal_views_of_different_chips_cost_least():
    codes_BK = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1], [1, -1, 1, -1], [1, -1, 1, -1]]) * 5
    assert contrast(codes_BK, 0.3) < contrast(codes_BK[[0, 2, 1, 3]], 0.3)
    assert contrast(codes_BK, 0.3) < contrast(codes_BK[[0, 0, 0, 0]], 0.3)


@pytest.mark.parametrize("change", [{"contrast_weight": -1}, {"contrast_temperature": 0}])
def test_options_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match="contrast_weight must be 0 or more"):
        OrthoHashSpec(**change)
