"""Training a hashing network, one epoch at a time, alone or as one of several DDP workers.

Shapes: N chips, B chips of the global batch (in outputs and labels: views of them), C classes, D features,
K bits, S x S pixels. A worker takes a
slice of each batch; the head and the loss see the global batch, on every worker.
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
_MOMENTUM = 0.9

Inputs = Callable[[NDArray[np.int64], torch.Generator, int], Tensor]
"""rows, generator, views -> what the network takes: images, or features where the backbone is frozen.

Each row is given in so many different views, next to each other.
"""


@dataclass(frozen=True)
class Share:
    """Which slice of each batch is a worker's own."""

    rank: int = 0
    workers: int = 1

    def of(self, rows_B: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this worker's slice; all slices are of one length."""
        share = len(rows_B) // self.workers
        return rows_B[self.rank * share : (self.rank + 1) * share]


ALONE = Share()


class Trainee(nn.Module):
    """What DDP wraps: images_BCSS or features_BD of this worker -> outputs_BK of the global batch.

    The head sees the features of all workers, so that its batch normalisation, like the loss, is that of
    one process, and gradients too. The backbone keeps its batch statistics unless it starts from nothing.
    """

    def __init__(self, network: HashNetwork, recipe: Recipe, *, keep_statistics: bool) -> None:
        super().__init__()
        self.head = network.head
        self.backbone = None if recipe.frozen else network.backbone
        self.mixed_precision, self.keep_statistics = recipe.bfloat16, keep_statistics

    def train(self, mode: bool = True) -> "Trainee":
        """Set the mode, but for a backbone that keeps its statistics."""
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
    """What is trained: the network, or its head where the backbone is frozen."""
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    epoch: int = 0
    best_score: float = -math.inf
    """Highest validation score so far, and how many epochs ago it was."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
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
        """Take note of an epoch's validation score; say whether to stop. Without patience nothing stops."""
        if not patience:
            return False
        if score > self.best_score:
            self.best_score, self.epochs_since_best = score, 0
            self.best_weights = {key: value.clone() for key, value in self.module.state_dict().items()}
        else:
            self.epochs_since_best += 1
        return self.epochs_since_best >= patience

    def final_weights(self) -> dict[str, Tensor]:
        """Return the best epoch's weights where `judge` has kept any, else the last epoch's."""
        return self.best_weights or self.module.state_dict()


def start(network: HashNetwork, recipe: Recipe, num_chips: int) -> TrainState:
    """Return the initial state of a training with ``num_chips`` chips an epoch."""
    groups = [{"params": list(network.head.parameters()), "lr": recipe.learning_rate}]
    if not recipe.frozen:
        groups.append({"params": list(network.backbone.parameters()), "lr": recipe.backbone_learning_rate})
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=_MOMENTUM, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    total = recipe.epochs * (num_chips // recipe.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(rate_at, total=total))
    return TrainState(network.head if recipe.frozen else network, optimizer, scheduler)


def rate_at(step: int, total: int) -> float:
    """Return the share of the highest learning rate: a linear warm-up, then a cosine down to 0."""
    warm_up = max(1, round(_WARM_UP * total))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


def train_epoch(
    state: TrainState,
    model: nn.Module,
    loss_of: nn.Module,
    labels_NC: NDArray[np.bool_],
    inputs_of: Inputs,
    recipe: Recipe,
    seed: int,
    share: Share = ALONE,
    views: int = 1,
) -> list[dict[str, float]]:
    """Train for one epoch; return each step's weighted loss terms and their sum, ``loss``.

    ``model`` is the `Trainee`, or DDP around it. Each chip of a batch enters in so many ``views``, next to
    each other, also in the global batch, as workers take whole chips. The same ``seed`` on all workers gives
    one order of chips. Raises FloatingPointError before the optimizer step that a non-finite loss asks for,
    naming the term.
    """
    seed = seed * 1_000_003 + state.epoch  # the same after a restart
    device = next(model.parameters()).device
    model.train()
    steps = []
    batches = draw_batches(labels_NC, recipe.batch_size, recipe.chips_per_class, seed)
    for rows_B, inputs in _prefetched(batches, inputs_of, seed, share, views):
        labels_BC = torch.from_numpy(labels_NC[rows_B.repeat(views)]).float().to(device)
        terms = loss_of(model(inputs.to(device)), labels_BC)
        steps.append(_step(state, terms))
    state.epoch += 1
    return steps


def _prefetched(
    batches: Iterator[NDArray[np.int64]], inputs_of: Inputs, seed: int, share: Share, views: int
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield each batch's rows and this worker's inputs, the next ones prepared meanwhile."""
    generator = torch.Generator().manual_seed(seed * share.workers + share.rank)
    with ThreadPoolExecutor(max_workers=1) as ahead:
        waiting = None
        for rows_B in batches:
            coming = rows_B, ahead.submit(inputs_of, share.of(rows_B), generator, views)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = coming
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def _step(state: TrainState, terms: dict[str, Tensor]) -> dict[str, float]:
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
