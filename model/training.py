"""Training a hashing network, one epoch at a time, alone or as one of several DDP workers.

A worker runs its slice of each batch through the backbone. The head and the loss see the whole global batch,
on every worker: docs/decisions/0008.

Shapes: N chips, B chips of the global batch (in inputs, outputs and labels: all views of them), C classes,
D features, K bits, S x S pixels.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network import HashNetwork
from model.parallel import global_batch
from model.precision import autocast
from model.recipe import Recipe
from model.sampling import draw_batches

_WARM_UP = 0.1  # share of the steps over which the learning rates rise

Inputs = Callable[[NDArray[np.int64], torch.Generator, int], Tensor]
"""(rows_B, generator, views) -> the inputs of these chips: images, or features if the backbone is frozen.

Each chip is given in ``views`` views, next to each other: turned differently, or changed at random.
"""


@dataclass(frozen=True)
class TrainingSet:
    """What an epoch trains on."""

    labels_NC: NDArray[np.bool_]
    inputs_of: Inputs
    views: int = 1
    """In how many views each chip of a batch enters."""


@dataclass(frozen=True)
class WorkerSlice:
    """Which slice of each batch a worker takes."""

    rank: int = 0
    """Number of the worker, 0..workers - 1."""
    workers: int = 1
    """How many workers there are."""

    def of(self, rows_B: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this worker's rows. All slices have the same length; rows that are left over are dropped."""
        length = len(rows_B) // self.workers
        return rows_B[self.rank * length : (self.rank + 1) * length]


ALONE = WorkerSlice()


class TrainingModule(nn.Module):
    """What DDP wraps: images_BCSS or features_BD of this worker -> outputs_BK of the global batch.

    The head sees the features of all workers. So its batch normalisation, the loss and the gradients are
    those of a single process.
    """

    def __init__(self, network: HashNetwork, recipe: Recipe, *, keep_statistics: bool) -> None:
        """Take the parts of a network that are trained.

        ``keep_statistics``: the backbone keeps its batch statistics, as it should if it is pretrained.
        """
        super().__init__()
        self.head = network.head
        self.backbone = None if recipe.frozen else network.backbone
        self.mixed_precision, self.keep_statistics = recipe.bfloat16, keep_statistics

    def train(self, mode: bool = True) -> "TrainingModule":
        """Set the mode; a backbone that keeps its batch statistics stays in eval mode."""
        super().train(mode)
        if self.backbone is not None and self.keep_statistics:
            self.backbone.eval()
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs_BK."""
        if self.backbone is not None:
            with autocast(inputs.device, enabled=self.mixed_precision):
                inputs = self.backbone(inputs)
        outputs_BK: Tensor = self.head(global_batch(inputs.float()))
        return outputs_BK


@dataclass
class TrainState:
    """All that a restarted worker needs to go on."""

    module: nn.Module
    """The network, or its head if the backbone is frozen."""
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    recipe: Recipe
    """As given to `start`; not in checkpoints."""
    epoch: int = 0
    """Epochs that are done."""
    best_score: float = -math.inf
    """Highest validation score so far."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """The weights of that epoch; empty without early stopping."""
    epochs_since_best: int = 0

    def to_checkpoint(self) -> dict[str, Any]:
        """Return tensors and numbers only."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "best_score": self.best_score,
            "best_weights": self.best_weights,
            "epochs_since_best": self.epochs_since_best,
        }

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from where `to_checkpoint` was called."""
        for name in ("module", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(checkpoint[name])
        for name in ("epoch", "best_score", "best_weights", "epochs_since_best"):
            setattr(self, name, checkpoint[name])

    def judge(self, score: float, patience: int) -> bool:
        """Record an epoch's validation score; return whether to stop.

        Training stops after ``patience`` epochs without a better score, and never if it is 0.
        """
        if not patience:
            return False
        if score > self.best_score:
            self.best_score, self.epochs_since_best = score, 0
            self.best_weights = {key: value.clone() for key, value in self.module.state_dict().items()}
        else:
            self.epochs_since_best += 1
        return self.epochs_since_best >= patience

    def final_weights(self) -> dict[str, Tensor]:
        """Return the best epoch's weights if there is early stopping (see `judge`), else the last epoch's."""
        return self.best_weights or self.module.state_dict()


def start(network: HashNetwork, recipe: Recipe, num_chips: int) -> TrainState:
    """Return the initial state of a training with ``num_chips`` chips in an epoch.

    The optimiser is AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019), with
    a rate for the head and one for the backbone.
    """
    groups = [{"params": list(network.head.parameters()), "lr": recipe.learning_rate}]
    if not recipe.frozen:
        groups.append({"params": list(network.backbone.parameters()), "lr": recipe.backbone_learning_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    total = recipe.epochs * (num_chips // recipe.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(rate_at, total=total))
    return TrainState(network.head if recipe.frozen else network, optimizer, scheduler, recipe)


def rate_at(step: int, total: int) -> float:
    """Return the learning rate at a step as a share of the highest one, 0..1.

    It rises linearly over the first tenth of the ``total`` steps, then falls along a cosine to 0.
    """
    warm_up = max(1, round(_WARM_UP * total))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


def train_epoch(
    state: TrainState,
    model: nn.Module,
    loss_of: nn.Module,
    chips: TrainingSet,
    seed: int,
    worker: WorkerSlice = ALONE,
) -> list[dict[str, float]]:
    """Train for one epoch; return each step's weighted loss terms and their sum, ``loss``.

    ``model`` is the `TrainingModule`, or DDP around it. The views of a chip are next to each other in the
    global batch too, as a worker takes whole chips. All workers must get the same ``seed``, from which the
    order of chips is drawn. Raises FloatingPointError if a loss term isn't finite, before the optimiser takes
    a step; the message names the term.
    """
    seed = seed * 1_000_003 + state.epoch  # the same after a restart
    device = next(model.parameters()).device
    model.train()
    steps = []
    batches = draw_batches(chips.labels_NC, state.recipe.batch_size, state.recipe.chips_per_class, seed)
    for rows_B, inputs in _prefetched(batches, chips, seed, worker):
        labels_BC = torch.from_numpy(chips.labels_NC[rows_B.repeat(chips.views)]).float().to(device)
        terms = loss_of(model(inputs.to(device)), labels_BC)
        steps.append(_step(state, terms))
    state.epoch += 1
    return steps


def _prefetched(
    batches: Iterator[NDArray[np.int64]], chips: TrainingSet, seed: int, worker: WorkerSlice
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield each batch's rows and this worker's inputs; a thread prepares the next batch meanwhile."""
    generator = torch.Generator().manual_seed(seed * worker.workers + worker.rank)
    with ThreadPoolExecutor(max_workers=1) as ahead:
        waiting = None
        for rows_B in batches:
            submitted = rows_B, ahead.submit(chips.inputs_of, worker.of(rows_B), generator, chips.views)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = submitted
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def _step(state: TrainState, terms: dict[str, Tensor]) -> dict[str, float]:
    """Take one step of the optimiser and the schedule; return the terms as numbers, and ``loss``."""
    values = {name: term.item() for name, term in terms.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{name} is {value} in epoch {state.epoch + 1}; lower the learning rates"
            )
    loss = torch.stack(list(terms.values())).sum()
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    state.scheduler.step()
    return values | {"loss": sum(values.values())}
