"""The hashing network: backbone and hash head.

Shapes: B images, C bands, S x S pixels, D features, K bits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.backbones import Backbone, Weights
from model.codes import Codes, binarise, pack
from model.heads import build_head
from model.precision import autocast
from model.preprocess import preprocess_mixed
from model.spec import InputSpec, NetworkSpec

_FEATURES_AT_ONCE = 4096  # vectors in one forward pass of the head


class HashNetwork(nn.Module):
    """images_BCSS -> outputs_BK, real numbers whose signs are the code's bits."""

    def __init__(self, network: NetworkSpec, input_spec: InputSpec, weights: Weights = "none") -> None:
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
    def extract(self, chips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the backbone's features_BD of uint8 chips_HWC of any sizes, in eval mode.

        Runs in bfloat16 where the device multiplies it.
        """
        self._require_eval()
        device = next(self.parameters()).device
        with autocast(device):
            features_BD = self.backbone(preprocess_mixed(chips, self.input_spec, device))
        return np.asarray(features_BD.float().cpu().numpy())

    @torch.inference_mode()
    def encode_features(self, features_ND: NDArray[np.float32]) -> Codes:
        """Turn the backbone's features into packed codes_NY, in eval mode."""
        self._require_eval()
        device = next(self.parameters()).device
        parts = torch.split(torch.from_numpy(features_ND), _FEATURES_AT_ONCE)
        return np.concatenate([pack(binarise(self.head(x.to(device)).cpu().numpy())) for x in parts])

    @torch.inference_mode()
    def encode(self, chips_BHWC: Tensor) -> Codes:
        """Turn uint8 chips into packed codes_BY, in eval mode.

        Nights and queries both encode with this: the backbone in bfloat16 where the device multiplies it, the
        head in float32. On a CPU with bfloat16 (AMX) features were seen to depend neither on the batch that a
        chip is in nor on the number of threads: a picture's code is the table's, bit for bit. Between
        kinds of devices, as between bfloat16 and float32, a few bits in a thousand differ: outputs near 0.
        """
        self._require_eval()
        if not len(chips_BHWC):
            return np.empty((0, self.network_spec.num_bits // 8), np.uint8)
        return self.encode_features(self.extract(list(chips_BHWC.cpu().numpy())))

    def _require_eval(self) -> None:
        if self.training:
            raise RuntimeError("encoding needs the network in eval mode: call .eval() first")
