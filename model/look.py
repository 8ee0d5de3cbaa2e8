"""The look bits: what the pixels look like, from a backbone's features and without any label.

Shapes: B vectors, D features, K bits.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LookHead(nn.Module):
    """features_BD -> outputs_BK, by two matrices that are fitted in closed form; nothing in it is trained.

    Features of unit length, less their mean, are whitened and brought to unit length again; then they are
    projected, and each output is divided by its standard deviation (METHODS, "View whitening").
    """

    mean_D: Tensor
    whitening_DD: Tensor
    whitened_mean_D: Tensor
    projection_DK: Tensor

    def __init__(self, features: int, bits: int) -> None:
        """Start from random hyperplanes. Raises ValueError with more bits than features."""
        super().__init__()
        if bits > features:
            raise ValueError(
                f"{features} features give at most {features} look bits, not {bits}; lower network.look_bits"
            )
        self.register_buffer("mean_D", torch.zeros(features))
        self.register_buffer("whitening_DD", torch.eye(features))
        self.register_buffer("whitened_mean_D", torch.zeros(features))
        self.register_buffer("projection_DK", torch.randn(features, bits))

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return outputs_BK, whose signs are the bits."""
        whitened_BD = F.normalize((F.normalize(features_BD) - self.mean_D) @ self.whitening_DD)
        outputs_BK: Tensor = (whitened_BD - self.whitened_mean_D) @ self.projection_DK
        return outputs_BK
