"""Pixels to the network's input: the only definition, for training, encoding and queries alike.

Shapes: B images, H x W pixels of the chip, C bands, S = ``InputSpec.size``.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.recipe import VIEWS, AugmentSpec
from model.spec import InputSpec

_TOGETHER = 8
"""Images that are prepared at a time on a CPU, so that they stay in its caches."""


def preprocess(chips_BHWC: Tensor, spec: InputSpec) -> Tensor:
    """Turn uint8 chips into float32 images_BCSS on the same device, in memory as channels_last.

    Resizing is antialiased. Raises ValueError on another dtype or number of bands.
    """
    if chips_BHWC.dtype != torch.uint8:
        raise ValueError(f"chips must be uint8, not {chips_BHWC.dtype}")
    if chips_BHWC.shape[-1] != len(spec.bands):
        raise ValueError(f"chips have {chips_BHWC.shape[-1]} bands, the network takes {len(spec.bands)}")
    if chips_BHWC.device.type != "cpu":
        return _prepared(chips_BHWC, spec, torch.preserve_format)
    shape = len(chips_BHWC), len(spec.bands), spec.size, spec.size
    images_BCSS = torch.empty(shape, dtype=torch.float32, device="cpu", memory_format=torch.channels_last)
    for first in range(0, len(chips_BHWC), _TOGETHER):
        few = slice(first, first + _TOGETHER)
        # band after band: a CPU resizes images whose bands alternate in twice the time
        images_BCSS[few] = _prepared(chips_BHWC[few], spec, torch.contiguous_format)
    return images_BCSS


def _prepared(chips_BHWC: Tensor, spec: InputSpec, layout: torch.memory_format) -> Tensor:
    images_BCHW = chips_BHWC.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
    if images_BCHW.shape[-2:] != (spec.size, spec.size):
        images_BCHW = F.interpolate(
            images_BCHW, size=(spec.size, spec.size), mode=spec.resize, antialias=True, align_corners=False
        )
    mean_C11 = images_BCHW.new_tensor(spec.mean)[:, None, None] * 255
    std_C11 = images_BCHW.new_tensor(spec.std)[:, None, None] * 255
    return images_BCHW.sub_(mean_C11).div_(std_C11)


def preprocess_mixed(chips: Sequence[NDArray[np.uint8]], spec: InputSpec, device: torch.device) -> Tensor:
    """Turn uint8 chips_HWC of any sizes into float32 images_BCSS on a device, in their order."""
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, chip_HWC in enumerate(chips):
        rows_of.setdefault(chip_HWC.shape, []).append(row)
    images_BCSS = torch.empty(len(chips), len(spec.bands), spec.size, spec.size, device=device)
    images_BCSS = images_BCSS.contiguous(memory_format=torch.channels_last)
    for rows in rows_of.values():
        chips_BHWC = torch.from_numpy(np.stack([chips[row] for row in rows]))
        images_BCSS[rows] = preprocess(chips_BHWC.to(device), spec)
    return images_BCSS


def turned(chip_HWC: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """Return one of a chip's `VIEWS` views: 0 as it is, 1 to 3 turned, 4 to 7 mirrored and turned."""
    mirrored_HWC = chip_HWC[:, ::-1] if view >= VIEWS // 2 else chip_HWC
    return np.ascontiguousarray(np.rot90(mirrored_HWC, view % 4))


def augment(images_BCHW: Tensor, spec: AugmentSpec, generator: torch.Generator) -> Tensor:
    """Change each image of the batch at random, so that it still shows the same thing seen from above.

    The changes are one of the eight symmetries of the square, a zoom onto a part of the image, and a gain and
    an offset for each band. Images must be square; the generator must be the CPU's.
    """
    if spec.symmetries:
        images_BCHW = _turn(images_BCHW, generator)
    if spec.scale:
        images_BCHW = _zoom(images_BCHW, spec.scale, generator)
    if spec.colour:
        batch, bands = images_BCHW.shape[:2]
        change_2BC11 = spec.colour * (2 * torch.rand(2, batch, bands, 1, 1, generator=generator) - 1)
        gain_BC11, offset_BC11 = change_2BC11.to(images_BCHW.device)
        images_BCHW = images_BCHW * (1 + gain_BC11) + offset_BC11
    return images_BCHW.contiguous(memory_format=torch.channels_last)


def _turn(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    choices_B3 = torch.rand(images_BCHW.shape[0], 3, generator=generator) < 0.5
    mirror_B, upend_B, turn_B = choices_B3.to(images_BCHW.device)[:, :, None, None, None].unbind(1)
    images_BCHW = torch.where(mirror_B, images_BCHW.flip(-1), images_BCHW)
    images_BCHW = torch.where(upend_B, images_BCHW.flip(-2), images_BCHW)
    return torch.where(turn_B, images_BCHW.transpose(-1, -2), images_BCHW)


def _zoom(images_BCHW: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    batch = images_BCHW.shape[0]
    side_B = 1 - scale * torch.rand(batch, generator=generator)
    shift_B2 = (1 - side_B[:, None]) * (2 * torch.rand(batch, 2, generator=generator) - 1)
    affine_B23 = torch.cat([torch.eye(2) * side_B[:, None, None], shift_B2[:, :, None]], dim=2)
    grid_BHW2 = F.affine_grid(
        affine_B23.to(images_BCHW.device), list(images_BCHW.shape), align_corners=False
    ).to(images_BCHW.dtype)
    return F.grid_sample(images_BCHW, grid_BHW2, padding_mode="reflection", align_corners=False)
