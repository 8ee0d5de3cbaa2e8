"""The hashing network: a backbone, a head for the kind bits, closed-form look bits.

Shapes: B images, C bands, S x S pixels, D features, K bits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.backbones import Backbone, Weights
from model.codes import Codes, binarise, pack
from model.heads import NoBits, build_head
from model.look import LookHead
from model.precision import autocast
from model.preprocess import preprocess, preprocess_mixed
from model.spec import InputSpec, NetworkSpec

_FEATURES_AT_ONCE = 4096  # vectors in one forward pass of the head


class HashNetwork(nn.Module):
    """images_BCSS -> outputs_BK, real numbers whose signs are the code's bits: kind bits first, then look."""

    def __init__(self, network: NetworkSpec, input_spec: InputSpec, weights: Weights = "none") -> None:
        """Build the network; ``weights`` are the backbone's (see `Backbone`).

        Raises ValueError if the spec, the input and the weights don't fit together.
        """
        super().__init__()
        self.network_spec, self.input_spec = network, input_spec
        self.backbone = Backbone(network.backbone, network.node, weights)
        features = self.backbone.count_features(len(input_spec.bands), input_spec.size)
        self.head = build_head(network, features)
        self.look = LookHead(features, network.look_bits) if network.look_bits else NoBits()
        self.to(memory_format=torch.channels_last)  # as the images of `preprocess`: faster on CPU and GPU

    def forward(self, images_BCSS: Tensor) -> Tensor:
        """Return outputs_BK."""
        return self.parts(self.backbone(images_BCSS))

    def parts(self, features_BD: Tensor) -> Tensor:
        """Return outputs_BK of the backbone's features: those of the head, then those of the look bits."""
        return torch.cat([self.head(features_BD), self.look(features_BD)], dim=1)

    @torch.inference_mode()
    def extract(self, chips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the backbone's features_BD of uint8 chips_HWC of any sizes.

        Runs in bfloat16 if the device has instructions for it. Raises RuntimeError if it isn't in eval mode.
        """
        self._require_eval()
        device = next(self.parameters()).device
        with autocast(device):
            features_BD = self.backbone(preprocess_mixed(chips, self.input_spec, device))
        return np.asarray(features_BD.float().cpu().numpy())

    @torch.inference_mode()
    def outputs(self, features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the real outputs_NK of features. Raises RuntimeError if it isn't in eval mode."""
        self._require_eval()
        device = next(self.parameters()).device
        batches = torch.split(torch.from_numpy(features_ND), _FEATURES_AT_ONCE)
        return np.concatenate([self.parts(batch.to(device)).cpu().numpy() for batch in batches])

    def encode_features(self, features_ND: NDArray[np.float32]) -> Codes:
        """Turn the backbone's features into packed codes_NY. Raises RuntimeError if it isn't in eval mode."""
        return pack(binarise(self.outputs(features_ND)))

    def encode(self, chips_BHWC: Tensor) -> Codes:
        """Turn uint8 chips into packed codes_BY. Raises RuntimeError if it isn't in eval mode.

        Nights and queries both encode with this: the backbone in bfloat16 if the device has instructions for
        it, the head in float32. In tests on a CPU with bfloat16 (AMX), features depended neither on the batch
        that a chip is in nor on the number of threads. So a picture gets the same code as in the table, bit
        for bit. Between two kinds of devices, or bfloat16 and float32, a few bits in a thousand differ: those
        whose outputs are near 0.
        """
        return self.encode_with_outputs(chips_BHWC)[0]

    @torch.inference_mode()
    def encode_with_outputs(self, chips_BHWC: Tensor) -> tuple[Codes, NDArray[np.float32]]:
        """Turn uint8 chips into the codes_BY of `encode`, and the outputs_BK whose signs they are.

        Chips in pinned memory are copied to the device without waiting; all that follows happens there.
        """
        self._require_eval()
        if not len(chips_BHWC):
            bits = self.network_spec.code.bits
            return np.empty((0, bits // 8), np.uint8), np.empty((0, bits), np.float32)
        device = next(self.parameters()).device
        images_BCSS = preprocess(chips_BHWC.to(device, non_blocking=True), self.input_spec)
        with autocast(device):
            features_BD = self.backbone(images_BCSS.contiguous(memory_format=torch.channels_last))
        outputs_BK = np.asarray(self.parts(features_BD.float()).cpu().numpy())
        return pack(binarise(outputs_BK)), outputs_BK

    def _require_eval(self) -> None:
        if self.training:
            raise RuntimeError("encoding needs the network in eval mode: call .eval() first")
