"""Training on a card as `pipelines.train` does it, without Ray: the head, all layers, the head again.

Shapes: N chips, B chips of a batch, D features, S x S pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from aid import Chips, map_at_20
from numpy.typing import NDArray
from torch import Tensor

from model.loss_spec import LossSpec, views_a_chip
from model.losses import build_loss
from model.network import HashNetwork
from model.preprocess import augment, preprocess
from model.recipe import AugmentSpec, Recipe
from model.spec import InputSpec
from model.training import ALONE, TrainingModule, TrainingSet, WorkerSlice, start, train_epoch

_EXTRACTED = 256


@dataclass(frozen=True)
class ChipImages:
    """Images of chips in memory: preprocessed on the device, changed at random."""

    chips_NSSC: NDArray[np.uint8]
    spec: InputSpec
    device: torch.device

    def inputs(self, rows_B: NDArray[np.int64], generator: torch.Generator, views: int) -> Tensor:
        """See `model.training.Inputs`."""
        chips_BSSC = torch.from_numpy(self.chips_NSSC[rows_B]).to(self.device)
        images_BCSS = preprocess(chips_BSSC, self.spec).repeat_interleave(views, dim=0)
        return augment(images_BCSS, AugmentSpec(), generator)


def feature_set(network: HashNetwork, train: Chips) -> TrainingSet:
    """Return chips with the frozen backbone's features as inputs; each view of a chip is the same."""
    network.eval()
    chips = list(train.chips_NSSC)
    batches = [chips[at : at + _EXTRACTED] for at in range(0, len(chips), _EXTRACTED)]
    features_ND = np.concatenate([network.extract(batch) for batch in batches])
    return TrainingSet(
        train.labels(), lambda rows_B, _, views: torch.from_numpy(features_ND[rows_B.repeat(views)])
    )


def run_epochs(
    network: HashNetwork,
    recipe: Recipe,
    loss: LossSpec,
    chips: TrainingSet,
    parallel: Callable[[TrainingModule], torch.nn.Module] = lambda module: module,
    worker: WorkerSlice = ALONE,
) -> list[float]:
    """Train for the recipe's epochs, with as many views as the loss wants; return the loss of each step."""
    device = next(network.parameters()).device
    state = start(network, recipe, len(chips.labels_NC))
    model = parallel(TrainingModule(network, recipe, keep_statistics=True).to(device))
    loss_of = build_loss(loss, chips.labels_NC.shape[1], network.network_spec.kind_bits, seed=0).to(device)
    chips, losses = replace(chips, views=views_a_chip(loss)), list[float]()
    for _ in range(recipe.epochs):
        steps = train_epoch(state, model, loss_of, chips, 0, worker)
        losses += [step["loss"] for step in steps]
    return losses


def fine_tune(network: HashNetwork, recipe: Recipe, loss: LossSpec, train: Chips, test: Chips) -> float:
    """Train the head, then all layers, then the head again; return mAP@20 of the test chips."""
    device = next(network.parameters()).device
    alone = replace(recipe, epochs=recipe.head_epochs, backbone_learning_rate=0)
    images = ChipImages(train.chips_NSSC, network.input_spec, device)
    run_epochs(network, alone, loss, feature_set(network, train))
    run_epochs(network, recipe, loss, TrainingSet(train.labels(), images.inputs))
    run_epochs(network, alone, loss, feature_set(network, train))
    return map_at_20(network, test)
