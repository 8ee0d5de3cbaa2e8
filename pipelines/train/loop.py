"""What every training worker runs, whoever started it: epochs, validation, early stopping, reports.

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
from model.training import Share, Trainee, start, train_epoch
from pipelines.train.inputs import AugmentedImages, FeatureRows
from pipelines.train.validation import SCORE, Part, validate


class Steps(list[dict[str, float]]):
    """The loss terms of each step; a short word in the log, where Ray prints all that is reported."""

    def __repr__(self) -> str:
        return f"<{len(self)} steps>"


Metrics = dict[str, Any]
"""Figures of an epoch by name; ``steps``: the loss terms of each step."""

Report = Callable[[Metrics, Callable[[], dict[str, Any]]], None]
"""Takes an epoch's metrics, and a function that makes a checkpoint of it, to be called if it is wanted."""


@dataclass(frozen=True)
class TrainJob:
    """A training, in things that can be sent to a worker."""

    network: NetworkSpec
    input: InputSpec
    initial: Mapping[str, Tensor]
    """State of the whole network to start from."""
    keep_statistics: bool
    """Keep the backbone's batch statistics: it is pretrained."""
    recipe: Recipe
    augment: AugmentSpec
    loss: LossSpec
    seed: int
    train: Part
    validation: Part


def train_loop(
    job: TrainJob,
    share: Share,
    device: torch.device,
    parallel: Callable[[nn.Module], nn.Module],
    checkpoint: dict[str, Any] | None,
    report: Report,
) -> dict[str, Tensor]:
    """Train to the end, or until validation stops it; return the weights (of the head, where that is all).

    ``parallel`` wraps the module for DDP; ``report`` is called after each epoch, on every worker.
    Raises FloatingPointError before an optimizer step that a non-finite loss would ask for.
    """
    torch.manual_seed(job.seed)
    network = HashNetwork(job.network, job.input).to(device)
    network.load_state_dict(job.initial)
    labels_NC, recipe = job.train.labels_NC[:, : job.train.trained_classes], job.recipe
    state = start(network, recipe, len(labels_NC))
    if checkpoint:
        state.restore(checkpoint)
    trainee = Trainee(network, recipe, keep_statistics=job.keep_statistics)
    model = parallel(trainee.to(device))
    loss_of = build_loss(job.loss, labels_NC.shape[1], job.network.kind_bits, job.seed).to(device)
    inputs_of = (
        job.train.rows.inputs
        if isinstance(job.train.rows, FeatureRows)
        else AugmentedImages(job.train.rows, job.input, job.augment, device).inputs
    )
    stopped = state.epochs_since_best >= recipe.patience > 0
    views = views_a_chip(job.loss)
    while state.epoch < recipe.epochs and not stopped:
        steps = train_epoch(state, model, loss_of, labels_NC, inputs_of, recipe, job.seed, share, views)
        figures = validate(network, job.validation, share, kind_only=True)
        stopped = state.judge(figures.get(SCORE, -math.inf), recipe.patience)
        rates = {"learning_rate": state.scheduler.get_last_lr()[0]}
        report({"epoch": state.epoch, "steps": Steps(steps), **rates, **figures}, state.to_checkpoint)
    return state.final_weights()
