"""What every training worker runs: DDP over the shards of the labelled chips.

Shapes: B chips of this worker, H x W pixels, C bands.
"""

import logging
import math
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray.train
import ray.train.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from model.losses import build_loss
from model.network import HashNetwork
from model.parallel import global_batch
from model.preprocess import augment, preprocess
from pipelines.train.config import TrainConfig

_log = logging.getLogger("ray.train")  # Ray brings what it says to the driver's terminal

_WARM_UP = 0.1  # share of the steps over which the learning rate rises
_SHUFFLE_CHIPS = 2048  # held by each worker to draw batches from
CHECKPOINT = "checkpoint.pt"


@dataclass
class _State:
    """All that a restarted worker needs to go on."""

    network: HashNetwork
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    epoch: int = 0


def train_loop(config: TrainConfig, num_classes: int, steps: int) -> None:
    """Train to the end, reporting the mean loss and a checkpoint after each epoch of ``steps`` steps.

    Raises FloatingPointError before the optimizer step that a non-finite loss would ask for.
    """
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    torch.manual_seed(config.seed)  # the same initial weights and targets on all workers
    state = _start(config, steps, device)
    model = ray.train.torch.prepare_model(state.network)
    loss_of = build_loss(config.loss, num_classes, config.network.num_bits, config.seed).to(device)
    while state.epoch < config.epochs:
        seed = config.seed * 1_000_003 + state.epoch * workers + rank  # the same after a restart
        generator = torch.Generator().manual_seed(seed)
        model.train()
        sums: Counter[str] = Counter()
        for chips_BHWC, classes_B in _batches(config.batch_size // workers, seed):
            images_BCHW = preprocess(chips_BHWC.to(device), config.input)
            outputs_BK = global_batch(model(augment(images_BCHW, generator)))
            labels_BC = F.one_hot(global_batch(classes_B.to(device)), num_classes).float()
            sums.update(_step(state, loss_of(outputs_BK, labels_BC)))
        state.epoch += 1
        means = {term: total / steps for term, total in sums.items()}
        if rank == 0:
            _log.info("epoch %d of %d: %s", state.epoch, config.epochs, _said(means))
        _report(state, means, rank)


def _batches(batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (chips_BHWC, classes_B) of this worker's share, once through, in a new order."""
    batches = ray.train.get_dataset_shard("train").iter_torch_batches(
        batch_size=batch_size,
        drop_last=True,
        local_shuffle_buffer_size=_SHUFFLE_CHIPS,
        local_shuffle_seed=seed,
    )
    for batch in batches:
        yield batch["chip"], batch["class_id"]


def _start(config: TrainConfig, steps: int, device: torch.device) -> _State:
    """Return the initial state, or that of the last checkpoint where a run goes on."""
    network = HashNetwork(config.network, config.input, config.weights)
    optimizer = torch.optim.AdamW(
        network.to(device).parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(rate_at, total=steps * config.epochs))
    state = _State(network, optimizer, scheduler)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            saved = torch.load(Path(folder) / CHECKPOINT, map_location=device, weights_only=True)
        state.network.load_state_dict(saved["network"])
        state.optimizer.load_state_dict(saved["optimizer"])
        state.scheduler.load_state_dict(saved["scheduler"])
        state.epoch = saved["epoch"]
    return state


def rate_at(step: int, total: int) -> float:
    """Return the share of the highest learning rate: a linear warm-up, then a cosine down to 0."""
    warm_up = max(1, round(_WARM_UP * total))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


def _step(state: _State, terms: dict[str, Tensor]) -> dict[str, float]:
    """Take one optimizer step; return the loss and its terms.

    Raises FloatingPointError before a step that a non-finite loss asks for, naming the term.
    """
    values = {name: term.item() for name, term in terms.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} is {value} in epoch {state.epoch}; lower learning_rate")
    loss = torch.stack(list(terms.values())).sum()
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    state.scheduler.step()
    return values | {"loss": sum(values.values())}


def _said(means: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in means.items())


def _report(state: _State, means: dict[str, float], rank: int) -> None:
    """Report the epoch to the controller; the first worker brings the checkpoint along."""
    metrics = {**means, "epoch": state.epoch, "learning_rate": state.scheduler.get_last_lr()[0]}
    if rank:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        saved = {
            "network": state.network.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "scheduler": state.scheduler.state_dict(),
            "epoch": state.epoch,
        }
        torch.save(saved, Path(folder) / CHECKPOINT)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
