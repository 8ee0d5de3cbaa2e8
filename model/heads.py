"""Hash heads: features to the real numbers whose signs are the kind bits.

Shapes: B images, D features, K bits.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from model.spec import NetworkSpec

_WIDTHS = (2048, 512)  # of seed B's fully connected layers


def build_head(spec: NetworkSpec, features: int) -> nn.Module:
    """Return the head that a spec names, for D ``features``."""
    if spec.head == "none":
        return NoBits()
    if spec.head == "linear":
        return nn.Linear(features, spec.kind_bits)
    if spec.head == "attention":
        return AttentionHead(features, spec.kind_bits, spec.attention_reduction)
    return _norm_head(features, spec.hidden, spec.kind_bits)


class NoBits(nn.Module):
    """Stands for a part that a network's codes don't have: outputs without bits."""

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return outputs of no bits (B x 0)."""
        return features_BD[:, :0]


def _norm_head(features: int, hidden: int, num_bits: int) -> nn.Sequential:
    """Return OrthoHash's hash layer, BatchNorm(W f) without bias, behind a hidden layer unless it is 0."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if hidden:
        layers["hidden"] = nn.Linear(features, hidden, bias=False)
        layers["hidden_norm"] = nn.BatchNorm1d(hidden)
        layers["relu"] = nn.ReLU()
    layers["hash"] = nn.Linear(hidden or features, num_bits, bias=False)
    layers["hash_norm"] = nn.BatchNorm1d(num_bits)
    return nn.Sequential(layers)


class AttentionHead(nn.Module):
    """Seed B: two squeeze-excitation branches gate the features; three fully connected layers follow.

    ``x' = x * sigmoid(branch_A(x) + branch_B(x))``, where a branch is ``W2 relu(W1 x)`` (Hu, Shen & Sun,
    "Squeeze-and-excitation networks", CVPR 2018). The legend of the patent's formula swaps the two
    activations. Read literally, a branch would be ``relu(W2 sigmoid(W1 x))``, which is never negative, so
    that the gate would stay above 0.5 and could never close. The sigmoid after the last layer is part of the
    loss.

    The patent doesn't standardise x; here it is brought to zero mean and unit variance first. Pooled
    features are all positive and close together, and as they are the outputs collapse onto few codes
    (docs/results/quality.md).
    """

    def __init__(self, features: int, num_bits: int, reduction: int) -> None:
        """Build the head; ``reduction`` is the number of features over that of a branch's inner units.

        Weights start as He and others (2015) say: with torch's default all outputs start close to 0, where
        the sigmoid of the loss is 0.5, and the codes collapse.
        """
        super().__init__()
        inner = max(1, features // reduction)
        self.standardise = nn.BatchNorm1d(features, affine=False)
        self.branches = nn.ModuleList(_branch(features, inner) for _ in range(2))
        wide, narrow = _WIDTHS
        self.layers = nn.Sequential(
            nn.Linear(features, wide),
            nn.ReLU(),
            nn.Linear(wide, narrow),
            nn.ReLU(),
            nn.Linear(narrow, num_bits),
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def gate(self, standard_BD: Tensor) -> Tensor:
        """Return the attention gate_BD of standardised features, 0..1."""
        first_BD, second_BD = (branch(standard_BD) for branch in self.branches)
        return torch.sigmoid(first_BD + second_BD)

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return outputs_BK."""
        standard_BD = self.standardise(features_BD)
        outputs_BK: Tensor = self.layers(standard_BD * self.gate(standard_BD))
        return outputs_BK


def _branch(features: int, inner: int) -> nn.Sequential:
    squeeze, excite = nn.Linear(features, inner, bias=False), nn.Linear(inner, features, bias=False)
    return nn.Sequential(squeeze, nn.ReLU(), excite)
