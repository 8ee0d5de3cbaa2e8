"""What every training worker runs, whoever started it: epochs, validation, early stopping, reports.

Shapes: N training chips, V validation chips, C classes, D features.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.loss_spec import LossSpec
from model.losses import build_loss
from model.metrics import code_health
from model.network import HashNetwork
from model.parallel import global_batch
from model.recipe import AugmentSpec, Recipe
from model.retrieval import retrieve
from model.spec import InputSpec, NetworkSpec
from model.training import ALONE, Share, Trainee, start, train_epoch
from pipelines.train.inputs import AugmentedImages, ChipRows, FeatureRows

SCORE = "val_map_at_20"
"""What early stopping and promotion go by: leave-one-out among the validation chips, ties averaged."""


class Steps(list[dict[str, float]]):
    """The loss terms of each step; a short word in the log, where Ray prints all that is reported."""

    def __repr__(self) -> str:
        return f"<{len(self)} steps>"


Metrics = dict[str, Any]
"""Figures of an epoch by name; ``steps``: the loss terms of each step."""

Report = Callable[[Metrics, Callable[[], dict[str, Any]]], None]
"""Takes an epoch's metrics, and a function that makes a checkpoint of it, to be called if it is wanted."""


@dataclass(frozen=True)
class Part:
    """Chips with their labels."""

    rows: FeatureRows | ChipRows
    labels_NC: NDArray[np.bool_]


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
    labels_NC, recipe = job.train.labels_NC, job.recipe
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
    while state.epoch < recipe.epochs and not stopped:
        steps = train_epoch(state, model, loss_of, labels_NC, inputs_of, recipe, job.seed, share)
        figures = validate(network, job.validation, share)
        stopped = state.judge(figures.get(SCORE, -math.inf), recipe.patience)
        rates = {"learning_rate": state.scheduler.get_last_lr()[0]}
        report({"epoch": state.epoch, "steps": Steps(steps), **rates, **figures}, state.to_checkpoint)
    return state.final_weights()


def validate(network: HashNetwork, part: Part, share: Share = ALONE) -> dict[str, float]:
    """Return the figures of the validation codes: `SCORE`, and their health; nothing where there are too few.

    With chips rather than features, each worker's share is run through its backbone.
    """
    if len(part.labels_NC) < 2:
        return {}
    network.eval()
    if isinstance(part.rows, FeatureRows):
        features_VD = part.rows.features_NVD[:, 0]
    else:
        features_VD = _extract(network, part.rows, len(part.labels_NC), share)
    codes_VY = network.encode_features(features_VD)
    figures = {f"val_{name}": value for name, value in asdict(code_health(codes_VY)).items()}
    labelled_V = part.labels_NC.any(axis=1)
    codes_VY, labels_VC = codes_VY[labelled_V], part.labels_NC[labelled_V]
    labels = labels_VC if (labels_VC.sum(axis=1) > 1).any() else labels_VC.argmax(axis=1)
    try:
        ranking = retrieve(codes_VY, labels, codes_VY, labels, np.arange(len(codes_VY))).ranking
    except ValueError:  # no two chips of a class
        return figures
    return {SCORE: ranking.map_at_k[20], "val_map": ranking.map_all} | figures


def _extract(network: HashNetwork, rows: ChipRows, count: int, share: Share) -> NDArray[np.float32]:
    """Return features_VD of all chips, each worker computing its share."""
    padded_V = np.arange(-(-count // share.workers) * share.workers) % count  # equal shares
    own = np.array_split(share.of(padded_V), max(1, len(padded_V) // share.workers // 64))
    features_BD = np.concatenate([network.extract(rows.chips(part)) for part in own])
    device = next(network.parameters()).device
    gathered = global_batch(torch.from_numpy(features_BD).to(device))
    return np.asarray(gathered.cpu().numpy()[:count])
