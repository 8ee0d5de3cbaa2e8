"""Pixels to the network's input: the only definition, for training, encoding and queries alike.

Shapes: B images, H x W pixels of the chip, C bands, S = ``InputSpec.size``.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from model.spec import InputSpec


def preprocess(chips_BHWC: Tensor, spec: InputSpec) -> Tensor:
    """Turn uint8 chips into float32 images_BCSS on the same device.

    Resizing is bilinear with antialiasing. Raises ValueError on another dtype or number of bands.
    """
    if chips_BHWC.dtype != torch.uint8:
        raise ValueError(f"chips must be uint8, not {chips_BHWC.dtype}")
    if chips_BHWC.shape[-1] != len(spec.bands):
        raise ValueError(f"chips have {chips_BHWC.shape[-1]} bands, the network takes {len(spec.bands)}")
    images_BCHW = chips_BHWC.permute(0, 3, 1, 2).float()
    if images_BCHW.shape[-2:] != (spec.size, spec.size):
        images_BCHW = F.interpolate(
            images_BCHW, size=(spec.size, spec.size), mode="bilinear", antialias=True, align_corners=False
        )
    mean_C11 = images_BCHW.new_tensor(spec.mean)[:, None, None] * 255
    std_C11 = images_BCHW.new_tensor(spec.std)[:, None, None] * 255
    return (images_BCHW - mean_C11) / std_C11


def augment(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Flip and turn the batch at random: seen from above, no side of a chip is up.

    Each image gets one of the eight symmetries of the square; square images only.
    """
    batch = images_BCHW.shape[0]
    choices_B3 = torch.rand(batch, 3, generator=generator) < 0.5
    mirror_B, upend_B, turn_B = choices_B3.to(images_BCHW.device)[:, :, None, None, None].unbind(1)
    images_BCHW = torch.where(mirror_B, images_BCHW.flip(-1), images_BCHW)
    images_BCHW = torch.where(upend_B, images_BCHW.flip(-2), images_BCHW)
    return torch.where(turn_B, images_BCHW.transpose(-1, -2), images_BCHW)
