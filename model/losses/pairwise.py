"""Seed A, pairwise hashing (CN107016708B): similar pairs together, others a margin apart.

Shapes: B images, K bits, C classes. v is the output squashed to [-1, 1]; METHODS.md has the formulas.
"""

import torch
from torch import Tensor, nn

from model.loss_spec import PairwiseSpec


class PairwiseLoss(nn.Module):
    """``L_pair + w_u L_u + w_q L_q``.

    ``L_pair = mean over pairs of S/2 d2 + (1-S)/2 max(t - d2, 0)`` with ``d2 = ||v1 - v2||^2``, which is
    4 x the Hamming distance of +-1 codes, and ``t = margin * K`` (formulas 1 and 2).
    """

    def __init__(self, spec: PairwiseSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, outputs_BK: Tensor, labels_BC: Tensor) -> dict[str, Tensor]:
        """Return the terms ``similar``, ``dissimilar``, ``uniform`` and ``quantisation``, weighted."""
        v_BK = torch.tanh(outputs_BK)
        similar, dissimilar = self._pairs(v_BK, labels_BC)
        # sign(v) is held constant, and sign(0) = -1
        to_sign_BK = v_BK - torch.where(v_BK > 0, 1.0, -1.0)
        quantisation = to_sign_BK.abs() if self.spec.quantisation == "l1" else to_sign_BK**2
        return {
            "similar": similar,
            "dissimilar": dissimilar,
            "uniform": self.spec.uniform_weight * self._uniform(v_BK),
            "quantisation": self.spec.quantisation_weight * quantisation.mean(),
        }

    def _pairs(self, v_BK: Tensor, labels_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two halves of L_pair."""
        batch, num_bits = v_BK.shape
        if self.spec.pairs == "random":
            first_P, second_P = torch.randperm(batch, device=v_BK.device)[: batch // 2 * 2].reshape(2, -1)
        else:
            first_P, second_P = torch.triu_indices(batch, batch, offset=1, device=v_BK.device)
        # the Gram matrix needs B x B numbers where differences of all pairs would need B x B x K
        norms_B = (v_BK**2).sum(dim=1)
        d2_BB = norms_B[:, None] + norms_B[None, :] - 2 * v_BK @ v_BK.T
        d2_P = d2_BB[first_P, second_P].clamp_min(0)
        labels = labels_BC.to(v_BK.dtype)
        similar_P = (labels @ labels.T)[first_P, second_P] > 0
        hinge_P = (self.spec.margin * num_bits - d2_P).clamp_min(0)
        counts = similar_P.sum(), (~similar_P).sum()
        shares = (c.clamp_min(1) * 2 if self.spec.balance else len(d2_P) for c in counts)
        halves = (d2_P[similar_P].sum() / 2, hinge_P[~similar_P].sum() / 2)
        similar, dissimilar = (half / share for half, share in zip(halves, shares, strict=True))
        return similar, dissimilar

    def _uniform(self, v_BK: Tensor) -> Tensor:
        means = v_BK.mean(dim=0 if self.spec.uniform == "bit" else 1)
        return (means**2).mean()
