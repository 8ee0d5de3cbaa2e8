"""OrthoHash: pull each code towards the fixed code of its class, with a contrastive term.

The contrastive term keeps the codes of one class apart, so that chips of a class can still be put in order:
OrthoHash alone would make their codes equal.

Source: Hoe, Ng, Zhang, Chan, Song & Xiang, "One loss for all: deep hashing with a single cosine similarity
based learning objective", NeurIPS 2021.

Shapes: B images, K bits, C classes. With the contrastive term, images 2i and 2i + 1 are two views of a chip.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.loss_spec import OrthoHashSpec


def orthogonal_targets(num_classes: int, num_bits: int, seed: int = 0) -> Tensor:
    """Return targets_CK of +-1: one code for each class, all far apart.

    If K is a power of two and there are no more classes than bits, they are rows of a Hadamard matrix, which
    differ in K / 2 bits. Else they are the best of 1000 random draws.
    """
    generator = torch.Generator().manual_seed(seed)
    if num_bits & (num_bits - 1) == 0 and num_classes <= num_bits:
        hadamard_KK = torch.ones(1, 1)
        while len(hadamard_KK) < num_bits:
            hadamard_KK = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), hadamard_KK)
        return hadamard_KK[torch.randperm(num_bits, generator=generator)[:num_classes]]
    best, best_overlap = None, math.inf
    for _ in range(1000):
        draw_CK = torch.randint(0, 2, (num_classes, num_bits), generator=generator).float() * 2 - 1
        overlap = (draw_CK @ draw_CK.T - num_bits * torch.eye(num_classes)).max().item()
        if overlap < best_overlap:
            best, best_overlap = draw_CK, overlap
    assert best is not None  # noqa: S101 - the loop ran
    return best


def contrast(outputs_BK: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent between the two views of each chip, of z = tanh(outputs) at unit length.

    It is the mean over images i of ``-log(exp(z_i z_j / t) / sum over k != i of exp(z_i z_k / t))``, where j
    is the other view of the same chip and t the temperature. Sources: Chen and others, "A simple framework
    for contrastive learning of visual representations" (SimCLR), ICML 2020; for codes Qiu and others,
    "Unsupervised hashing with contrastive information bottleneck" (CIBHash), IJCAI 2021, here without its KL
    term.
    """
    z_BK = F.normalize(torch.tanh(outputs_BK))
    itself_BB = torch.eye(len(z_BK), dtype=torch.bool, device=z_BK.device)
    scores_BB = (z_BK @ z_BK.T / temperature).masked_fill(itself_BB, -math.inf)
    return F.cross_entropy(scores_BB, torch.arange(len(z_BK), device=z_BK.device) ^ 1)


class OrthoHashLoss(nn.Module):
    """Cross entropy over the cosines between an output and the target of each class.

    ``CE(s * (cos - margin * y), y)`` with ``s = sqrt(2) * ln(C - 1)`` and y = 1 for the chip's own class. If
    a chip has several labels, the target distribution of CE is spread over them evenly, as in the authors'
    code.
    """

    targets_CK: Tensor

    def __init__(self, spec: OrthoHashSpec, num_classes: int, num_bits: int, seed: int = 0) -> None:
        """Draw the targets. Raises ValueError with fewer than two classes."""
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"a hashing network needs two classes at least, not {num_classes}")
        self.spec = spec
        # with two classes ln(C - 1) would be 0, and nothing would be learned
        self.scale = math.sqrt(2) * math.log(max(num_classes - 1, 2))
        self.register_buffer("targets_CK", orthogonal_targets(num_classes, num_bits, seed))

    def forward(self, outputs_BK: Tensor, labels_BC: Tensor) -> dict[str, Tensor]:
        """Return the terms ``orthohash`` and, unless its weight is 0, ``contrast``, weighted."""
        cosines_BC = F.normalize(outputs_BK) @ F.normalize(self.targets_CK).T
        scores_BC = self.scale * (cosines_BC - self.spec.margin * labels_BC)
        terms = {"orthohash": F.cross_entropy(scores_BC, labels_BC / labels_BC.sum(dim=1, keepdim=True))}
        if self.spec.contrast_weight:
            term = contrast(outputs_BK, self.spec.contrast_temperature)
            terms["contrast"] = self.spec.contrast_weight * term
        return terms
