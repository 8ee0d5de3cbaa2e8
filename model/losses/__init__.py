"""Losses that make a network's outputs good codes.

Each is a module that is called with outputs_BK and labels_BC (multi-hot) of the whole global batch and
returns its weighted terms by name; their sum is what training minimises. The sign of an output is its bit.
"""

from torch import nn

from model.loss_spec import LossSpec, OrthoHashSpec, PairwiseSpec
from model.losses.orthohash import OrthoHashLoss
from model.losses.pairwise import PairwiseLoss
from model.losses.triplet import TripletLoss


def build_loss(spec: LossSpec, num_classes: int, num_bits: int, seed: int) -> nn.Module:
    """Return the loss that a spec describes. Raises ValueError with fewer than two classes."""
    if isinstance(spec, OrthoHashSpec):
        return OrthoHashLoss(spec, num_classes, num_bits, seed)
    return PairwiseLoss(spec) if isinstance(spec, PairwiseSpec) else TripletLoss(spec)
