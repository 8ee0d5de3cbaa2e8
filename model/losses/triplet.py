"""Seed B's losses: triplets, isometric quantisation and bit balance (channel-attention hashing, 2021).

Shapes: B images, K bits, C classes, T triplets; A, P, N: the B images as anchors, positives, negatives.
h = sigmoid(output) lies in [0, 1]; b is h rounded: 1 if h > 0.5, that is if the output is above 0.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.loss_spec import TripletSpec


class TripletLoss(nn.Module):
    """``L_triplet + alpha (L_point + mu L_iso) + l1 L_push + l2 L_equal``.

    Distances are ``D(i, j) = ||h_i - h_j||^2 / K``, 0..1.

    - ``L_triplet = mean over triplets of D(a, p) - D(a, n) + m``. Triplets are semi-hard: the negative n is
      farther from the anchor a than the positive p, by less than the margin m (Schroff, Kalenichenko &
      Philbin, "FaceNet", CVPR 2015). With all triplets codes collapsed more easily.
    - ``L_point = mean of log cosh(h - b)``. The patent squares it, which leaves no gradient near 0.5.
    - ``L_iso = mean over the triplets' pairs of (D(i, j) - ||b_i - b_j||^2 / K)^2``: distances of outputs are
      those of the codes. The patent compares norms that aren't squared.
    - ``L_push = - mean of (h - 0.5)^2`` pushes h to the ends, and
      ``L_equal = mean over bits of (mean over the batch of h - 0.5)^2`` has each bit on in half of the batch.
    """

    def __init__(self, spec: TripletSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, outputs_BK: Tensor, labels_BC: Tensor) -> dict[str, Tensor]:
        """Return the terms ``triplet``, ``pointwise``, ``isometric``, ``push`` and ``equal``, weighted."""
        spec, h_BK = self.spec, torch.sigmoid(outputs_BK)
        labels = labels_BC.to(h_BK.dtype)
        similar_BB = (labels @ labels.T) > 0
        distances_BB = _squared_distances(h_BK)
        triplets = self._semi_hard_triplets(distances_BB.detach(), similar_BB)
        b_BK = (h_BK > 0.5).to(h_BK.dtype)
        isometric = self._isometric(distances_BB - _squared_distances(b_BK), triplets)
        return {
            "triplet": self._triplet(distances_BB, triplets),
            "pointwise": spec.isometric_weight * _log_cosh(h_BK - b_BK).mean(),
            "isometric": spec.isometric_weight * spec.pair_weight * isometric,
            "push": -spec.push_weight * ((h_BK - 0.5) ** 2).mean(),
            "equal": spec.equal_weight * ((h_BK.mean(dim=0) - 0.5) ** 2).mean(),
        }

    def _semi_hard_triplets(self, distances_BB: Tensor, similar_BB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return anchors_T, positives_T and negatives_T: rows of the batch."""
        itself_BB = torch.eye(len(similar_BB), dtype=torch.bool, device=similar_BB.device)
        positive_AP = similar_BB & ~itself_BB
        gap_APN = distances_BB[:, None, :] - distances_BB[:, :, None]  # negative's distance less positive's
        semi_hard_APN = (gap_APN > 0) & (gap_APN < self.spec.margin)
        chosen_APN = positive_AP[:, :, None] & ~similar_BB[:, None, :] & semi_hard_APN
        anchors_T, positives_T, negatives_T = chosen_APN.nonzero(as_tuple=True)
        return anchors_T, positives_T, negatives_T

    def _triplet(self, distances_BB: Tensor, triplets: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return L_triplet; 0 if there is no triplet."""
        anchors_T, positives_T, negatives_T = triplets
        gap_T = distances_BB[anchors_T, positives_T] - distances_BB[anchors_T, negatives_T]
        return (gap_T + self.spec.margin).sum() / max(len(gap_T), 1)

    def _isometric(self, difference_BB: Tensor, triplets: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return L_iso, from the distances of outputs less those of codes; 0 if there is no triplet."""
        anchors_T, positives_T, negatives_T = triplets
        pairs = torch.cat([difference_BB[anchors_T, positives_T], difference_BB[anchors_T, negatives_T]])
        return (pairs**2).sum() / max(len(pairs), 1)


def _squared_distances(x_BK: Tensor) -> Tensor:
    """Return ``||x_i - x_j||^2 / K`` of all pairs, by the Gram matrix."""
    norms_B = (x_BK**2).sum(dim=1)
    return (norms_B[:, None] + norms_B[None, :] - 2 * x_BK @ x_BK.T).clamp_min(0) / x_BK.shape[1]


def _log_cosh(x: Tensor) -> Tensor:
    """Return log(cosh(x)) without overflow."""
    return x + F.softplus(-2 * x) - torch.log(x.new_tensor(2.0))
