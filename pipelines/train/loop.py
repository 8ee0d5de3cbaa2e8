"""What every training worker runs: epochs, validation, early stopping, a report after each epoch.

It is the same in Ray's workers and in the job's own process; `pipelines.train.fit` starts it.

Shapes: N training chips, C classes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.loss_spec import LossSpec, views_a_chip
from model.losses import build_loss
from model.network import HashNetwork
from model.recipe import AugmentSpec, Recipe
from model.spec import InputSpec, NetworkSpec
from model.training import TrainingModule, TrainingSet, WorkerSlice, start, train_epoch
from pipelines.train.inputs import AugmentedImages, FeatureRows
from pipelines.train.validation import SCORE, LabelledSplit, validate


class Steps(list[dict[str, float]]):
    """The loss terms of each step. Their repr is short, as Ray prints all reported metrics in its log."""

    def __repr__(self) -> str:
        return f"<{len(self)} steps>"


Metrics = dict[str, Any]
"""Figures of an epoch by name; ``steps``: the loss terms of each step."""

Report = Callable[[Metrics, Callable[[], dict[str, Any]]], None]
"""(an epoch's metrics, a function that makes its checkpoint) -> None. It calls the function if needed."""


@dataclass(frozen=True)
class TrainJob:
    """A training. All of it can be pickled and sent to a worker."""

    network: NetworkSpec
    input: InputSpec
    initial: Mapping[str, Tensor]
    """State of the whole network to start from."""
    keep_statistics: bool
    """Whether the backbone keeps its batch statistics, as it is pretrained."""
    recipe: Recipe
    augment: AugmentSpec
    loss: LossSpec
    seed: int
    train: LabelledSplit
    validation: LabelledSplit


def train_loop(
    job: TrainJob,
    worker: WorkerSlice,
    device: torch.device,
    parallel: Callable[[nn.Module], nn.Module],
    checkpoint: dict[str, Any] | None,
    report: Report,
) -> dict[str, Tensor]:
    """Train to the last epoch or until early stopping, from a ``checkpoint`` if there is one.

    Returns the weights of the network, or of its head if the backbone is frozen. ``parallel`` wraps the
    module for DDP; ``report`` is called after each epoch, on every worker. Raises FloatingPointError if the
    loss isn't finite.
    """
    torch.manual_seed(job.seed)
    network = HashNetwork(job.network, job.input).to(device)
    network.load_state_dict(job.initial)
    labels_NC, recipe = job.train.labels_NC[:, : job.train.trained_classes], job.recipe
    state = start(network, recipe, len(labels_NC))
    if checkpoint:
        state.restore(checkpoint)
    module = TrainingModule(network, recipe, keep_statistics=job.keep_statistics)
    model = parallel(module.to(device))
    loss_of = build_loss(job.loss, labels_NC.shape[1], job.network.kind_bits, job.seed).to(device)
    inputs_of = (
        job.train.rows.inputs
        if isinstance(job.train.rows, FeatureRows)
        else AugmentedImages(job.train.rows, job.input, job.augment, device).inputs
    )
    stopped = state.epochs_since_best >= recipe.patience > 0
    chips = TrainingSet(labels_NC, inputs_of, views_a_chip(job.loss))
    while state.epoch < recipe.epochs and not stopped:
        steps = train_epoch(state, model, loss_of, chips, job.seed, worker)
        figures = validate(network, job.validation, worker, kind_only=True)
        stopped = state.judge(figures.get(SCORE, -math.inf), recipe.patience)
        rates = {"learning_rate": state.scheduler.get_last_lr()[0]}
        report({"epoch": state.epoch, "steps": Steps(steps), **rates, **figures}, state.to_checkpoint)
    return state.final_weights()
