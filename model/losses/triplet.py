"""Seed B, triplet hashing with isometric quantisation and bit balance (channel-attention hashing, 2021).

Shapes: B images, K bits, C classes. h = sigmoid(output) lies in [0, 1]; b is h rounded, bit on where
h > 0.5, which is where the output is above 0. METHODS.md has the formulas.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.loss_spec import TripletSpec


class TripletLoss(nn.Module):
    """``L_triplet + alpha L_iso + l1 L_push + l2 L_equal``."""

    def __init__(self, spec: TripletSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, outputs_BK: Tensor, labels_BC: Tensor) -> dict[str, Tensor]:
        """Return the terms ``triplet``, ``pointwise``, ``isometric``, ``push`` and ``equal``, weighted."""
        spec, h_BK = self.spec, torch.sigmoid(outputs_BK)
        labels = labels_BC.to(h_BK.dtype)
        similar_BB = (labels @ labels.T) > 0
        distances_BB = _squared_distances(h_BK)
        active = self._active_triplets(distances_BB.detach(), similar_BB)
        b_BK = (h_BK > 0.5).to(h_BK.dtype)
        pointwise_BK = _log_cosh(h_BK - b_BK)
        if spec.pointwise == "squared":
            pointwise_BK = pointwise_BK**2
        middle = h_BK.mean(dim=0 if spec.equal == "bit" else 1) - 0.5
        return {
            "triplet": self._triplet(distances_BB, active),
            "pointwise": spec.isometric_weight * pointwise_BK.mean(),
            "isometric": spec.isometric_weight * spec.pair_weight * self._isometric(h_BK, b_BK, active),
            "push": -spec.push_weight * ((h_BK - 0.5) ** 2).mean(),
            "equal": spec.equal_weight * (middle**2).mean(),
        }

    def _active_triplets(self, distances_BB: Tensor, similar_BB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return anchors_T, positives_T and negatives_T of the triplets whose hinge is above 0."""
        positive_BB = similar_BB & ~torch.eye(len(similar_BB), dtype=torch.bool, device=similar_BB.device)
        gap_BPN = distances_BB[:, None, :] - distances_BB[:, :, None]  # negative's less positive's
        chosen_BPN = positive_BB[:, :, None] & ~similar_BB[:, None, :] & (gap_BPN < self.spec.margin)
        if self.spec.mining == "semi_hard":
            chosen_BPN &= gap_BPN > 0
        anchors_T, positives_T, negatives_T = chosen_BPN.nonzero(as_tuple=True)
        return anchors_T, positives_T, negatives_T

    def _triplet(self, distances_BB: Tensor, active: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        anchors_T, positives_T, negatives_T = active
        gap_T = distances_BB[anchors_T, positives_T] - distances_BB[anchors_T, negatives_T]
        return (gap_T + self.spec.margin).sum() / max(len(gap_T), 1)

    def _isometric(self, h_BK: Tensor, b_BK: Tensor, active: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return how far the distances of the triplets' pairs are from those of their codes."""
        difference_BB = _squared_distances(h_BK) - _squared_distances(b_BK)
        if self.spec.pair_norm == "l2":
            num_bits = h_BK.shape[1]
            norms = [(_squared_distances(x) * num_bits).clamp_min(1e-12).sqrt() for x in (h_BK, b_BK)]
            difference_BB = (norms[0] - norms[1]) / num_bits**0.5
        anchors_T, positives_T, negatives_T = active
        pairs = torch.cat([difference_BB[anchors_T, positives_T], difference_BB[anchors_T, negatives_T]])
        return (pairs**2).sum() / max(len(pairs), 1)


def _squared_distances(x_BK: Tensor) -> Tensor:
    """Return ``||x_i - x_j||^2 / K`` of all pairs, by the Gram matrix."""
    norms_B = (x_BK**2).sum(dim=1)
    return (norms_B[:, None] + norms_B[None, :] - 2 * x_BK @ x_BK.T).clamp_min(0) / x_BK.shape[1]


def _log_cosh(x: Tensor) -> Tensor:
    """Return log(cosh(x)) without overflow."""
    return x + F.softplus(-2 * x) - torch.log(x.new_tensor(2.0))
