"""The hashing network: backbone and hash head.

Shapes: B images, C bands, S x S pixels, D features, K bits.
"""

import numpy as np
import torch
from torch import Tensor, nn

from model.backbones import Backbone
from model.codes import Codes, binarise, pack
from model.heads import build_head
from model.preprocess import preprocess
from model.spec import InputSpec, NetworkSpec


class HashNetwork(nn.Module):
    """images_BCSS -> outputs_BK, real numbers whose signs are the code's bits."""

    def __init__(self, network: NetworkSpec, input_spec: InputSpec, weights: str = "none") -> None:
        """Build it; ``weights`` are the backbone's (see `Backbone`). Raises ValueError on a bad spec."""
        super().__init__()
        self.network_spec, self.input_spec = network, input_spec
        self.backbone = Backbone(network.backbone, network.node, weights)
        features = self.backbone.count_features(len(input_spec.bands), input_spec.size)
        self.head = build_head(network, features)
        self.to(memory_format=torch.channels_last)  # as `preprocess` leaves the images; faster on CPU and GPU

    def forward(self, images_BCSS: Tensor) -> Tensor:
        """Return outputs_BK."""
        outputs_BK: Tensor = self.head(self.backbone(images_BCSS))
        return outputs_BK

    @torch.inference_mode()
    def encode(self, chips_BHWC: Tensor) -> Codes:
        """Turn uint8 chips into packed codes_BY. The network must be in eval mode."""
        if self.training:
            raise RuntimeError("encode needs the network in eval mode: call .eval() first")
        if not len(chips_BHWC):
            return np.empty((0, self.network_spec.num_bits // 8), np.uint8)
        device = next(self.parameters()).device
        outputs_BK = self(preprocess(chips_BHWC.to(device), self.input_spec))
        return pack(binarise(outputs_BK.float().cpu().numpy()))
