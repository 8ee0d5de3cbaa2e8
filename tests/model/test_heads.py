import torch

from model.heads import AttentionHead, build_head
from model.spec import NetworkSpec


def test_each_head_gives_the_bits_asked_for():
    features_BD = torch.rand(5, 40)
    for head in ("norm", "linear", "attention"):
        outputs_BK = build_head(NetworkSpec(head=head, kind_bits=24, hidden=16), 40)(features_BD)
        assert outputs_BK.shape == (5, 24)


def test_attention_gate_is_the_formula_and_only_the_open_one_can_close():
    torch.manual_seed(0)
    features_BD = torch.randn(64, 40) * 10
    gates = {}
    for reading in ("open", "literal"):
        head = AttentionHead(40, 8, reduction=4, gate=reading)
        (squeeze_a, _, excite_a, *_), (squeeze_b, _, excite_b, *_) = head.branches
        total_BD = torch.zeros(64, 40)
        for squeeze, excite in ((squeeze_a, excite_a), (squeeze_b, excite_b)):
            inner = features_BD @ squeeze.weight.T
            if reading == "open":
                total_BD += torch.relu(inner) @ excite.weight.T
            else:
                total_BD += torch.relu(torch.sigmoid(inner) @ excite.weight.T)
        gates[reading] = head.gate(features_BD)
        torch.testing.assert_close(gates[reading], torch.sigmoid(total_BD))
        standard_BD = (features_BD - features_BD.mean(0)) / features_BD.std(0, unbiased=False)
        expected_BK = head.layers(standard_BD * head.gate(standard_BD))
        torch.testing.assert_close(head(features_BD), expected_BK, rtol=1e-3, atol=1e-3)
    assert gates["open"].min() < 0.01
    assert gates["literal"].min() >= 0.5


def test_attention_outputs_do_not_start_collapsed():
    torch.manual_seed(0)
    outputs_BK = AttentionHead(256, 32, reduction=16, gate="open")(torch.rand(500, 256))
    assert torch.sigmoid(outputs_BK).std() > 0.1
