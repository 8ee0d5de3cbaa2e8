import torch

from model.heads import AttentionHead, build_head
from model.spec import NetworkSpec


def test_each_head_gives_the_bits_asked_for():
    features_BD = torch.rand(5, 40)
    for head in ("norm", "linear", "attention"):
        outputs_BK = build_head(NetworkSpec(head=head, kind_bits=24, hidden=16), 40)(features_BD)
        assert outputs_BK.shape == (5, 24)


def test_attention_gate_is_the_formula_and_can_close():
    torch.manual_seed(0)
    features_BD = torch.randn(64, 40) * 10
    head = AttentionHead(40, 8, reduction=4)
    total_BD = sum(
        torch.relu(features_BD @ squeeze.weight.T) @ excite.weight.T for squeeze, _, excite in head.branches
    )
    gate_BD = head.gate(features_BD)
    torch.testing.assert_close(gate_BD, torch.sigmoid(total_BD))
    assert gate_BD.min() < 0.01
    standard_BD = (features_BD - features_BD.mean(0)) / features_BD.std(0, unbiased=False)
    expected_BK = head.layers(standard_BD * head.gate(standard_BD))
    torch.testing.assert_close(head(features_BD), expected_BK, rtol=1e-3, atol=1e-3)


def test_attention_outputs_do_not_start_collapsed():
    torch.manual_seed(0)
    outputs_BK = AttentionHead(256, 32, reduction=16)(torch.rand(500, 256))
    assert torch.sigmoid(outputs_BK).std() > 0.1
