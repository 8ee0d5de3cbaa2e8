"""Seed A's losses, pairwise hashing (patent CN107016708B): similar pairs together, others a margin apart.

Shapes: B images, K bits, C classes, P pairs. v = tanh(output) lies in [-1, 1]; its sign is the bit.
"""

import torch
from torch import Tensor, nn

from model.loss_spec import PairwiseSpec


class PairwiseLoss(nn.Module):
    """``L_pair + w_u L_u + w_q L_q``, with S = 1 for a pair that shares a class, else 0.

    - ``L_pair = mean over all pairs of S/2 d2 + (1-S)/2 max(t - d2, 0)`` with ``d2 = ||v1 - v2||^2`` and
      ``t = margin * K`` (formulas 1 and 2). For codes of +-1, d2 is 4 times the Hamming distance.
    - ``L_u = mean over bits of (mean over the batch of v)^2``: each bit is on in half of the batch.
    - ``L_q = mean of (v - sign(v))^2``, where sign(v) has no gradient and sign(0) = -1.
    """

    def __init__(self, spec: PairwiseSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, outputs_BK: Tensor, labels_BC: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms ``similar``, ``dissimilar``, ``uniform`` and ``quantisation``."""
        v_BK = torch.tanh(outputs_BK)
        similar, dissimilar = self._pair_terms(v_BK, labels_BC)
        to_sign_BK = v_BK - torch.where(v_BK > 0, 1.0, -1.0)
        return {
            "similar": similar,
            "dissimilar": dissimilar,
            "uniform": self.spec.uniform_weight * (v_BK.mean(dim=0) ** 2).mean(),
            "quantisation": self.spec.quantisation_weight * (to_sign_BK**2).mean(),
        }

    def _pair_terms(self, v_BK: Tensor, labels_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_pair's term of the similar pairs and that of the dissimilar ones.

        With ``balance`` each is the mean over its own pairs, halved; else both are divided by the number of
        all pairs.
        """
        batch, num_bits = v_BK.shape
        first_P, second_P = torch.triu_indices(batch, batch, offset=1, device=v_BK.device)
        # the Gram matrix needs B x B numbers, where differences of all pairs would need B x B x K
        norms_B = (v_BK**2).sum(dim=1)
        d2_BB = norms_B[:, None] + norms_B[None, :] - 2 * v_BK @ v_BK.T
        d2_P = d2_BB[first_P, second_P].clamp_min(0)
        labels = labels_BC.to(v_BK.dtype)
        similar_P = (labels @ labels.T)[first_P, second_P] > 0
        hinge_P = (self.spec.margin * num_bits - d2_P).clamp_min(0)
        similar, dissimilar = d2_P[similar_P].sum() / 2, hinge_P[~similar_P].sum() / 2
        if self.spec.balance:
            num_similar = similar_P.sum()
            num_dissimilar = len(similar_P) - num_similar
            return similar / (2 * num_similar.clamp_min(1)), dissimilar / (2 * num_dissimilar.clamp_min(1))
        return similar / len(d2_P), dissimilar / len(d2_P)
