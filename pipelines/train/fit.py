"""Run the training loop: in Ray Train's workers, or in this process."""

import logging
import math
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import safetensors.torch
import structlog
import torch
from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch import Tensor

from model.training import ALONE, WorkerSlice
from pipelines.config import TrackingConfig
from pipelines.errors import StorageError, TrainingError
from pipelines.registry import tracking
from pipelines.runtime.screen import PROGRESS
from pipelines.storage.store import Store
from pipelines.train.callbacks import EpochLog, LogEpochs, epoch_text
from pipelines.train.config import TrainConfig
from pipelines.train.loop import Metrics, Report, TrainJob, train_loop

log = structlog.get_logger()
_worker_log = logging.getLogger("scenehash.train")  # Ray brings its lines to the driver

_RESTARTS = 3  # times that the workers are started again after one has died
_CHECKPOINT = "checkpoint.pt"
_CHECKPOINT_SECONDS = 20  # at least, between two checkpoints: saving may take longer than an epoch


@dataclass(frozen=True)
class Phase:
    """One training of a run: what the recipe says, or the head alone before or after it."""

    name: str
    """Prefix of its figures' names in MLflow; empty for the training that the recipe describes."""
    job: TrainJob
    tracking: TrackingConfig
    run_id: str

    def log(self) -> EpochLog:
        """Return a log that writes its epochs to MLflow."""
        return EpochLog(self.tracking, self.run_id, f"{self.name}/" if self.name else "")

    def system_metrics(self, node: str) -> AbstractContextManager[None]:
        """Log the machine's CPU, memory and GPU to MLflow for as long as the context is open."""
        return tracking.system_metrics(self.tracking, self.run_id, node)


@dataclass(frozen=True)
class FitResult:
    """How a training in Ray's workers has ended: the return value of the worker of rank 0."""

    weights: bytes | None = None
    """The trained weights as a .safetensors file, as Ray refuses return values with tensors; None if the
    training failed."""
    failure: str | None = None
    """Why there are no weights, if starting the workers again wouldn't help."""


def fit(phase: Phase, config: TrainConfig, store: Store) -> dict[str, Tensor]:
    """Train; return the weights of the whole network, or of its head if the backbone is frozen.

    Raises TrainingError if the loss isn't finite, or if the workers die more often than they are restarted.
    """
    log.info("training", chips=len(phase.job.train.labels_NC), epochs=phase.job.recipe.epochs)
    if config.workers == 0:
        return _fit_here(phase, torch.device("cuda" if config.use_gpu else "cpu"))
    return _fit_with_ray(phase, config, store)


def _fit_here(phase: Phase, device: torch.device) -> dict[str, Tensor]:
    epochs = phase.log()

    def report(metrics: Metrics, _: object) -> None:
        epochs(metrics)
        log.info(PROGRESS + epoch_text(metrics))

    with phase.system_metrics("node0"):
        try:
            return train_loop(phase.job, ALONE, device, lambda module: module, None, report)
        except FloatingPointError as error:
            raise TrainingError(str(error)) from error


def _fit_with_ray(phase: Phase, config: TrainConfig, store: Store) -> dict[str, Tensor]:
    checkpoints = f"{config.bundles.rstrip('/')}/_checkpoints"
    # a name that no other training has: Ray would silently resume an old run of the same name
    run_name = f"{phase.run_id}{phase.name}"
    filesystem, path = store.arrow_filesystem(checkpoints)
    # a worker that reports an epoch waits until Ray polls it, which it does every two seconds by default
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    sent = ray.put(phase)
    trainer = TorchTrainer(
        lambda: _worker(sent),  # type: ignore[arg-type]  # V1's type
        scaling_config=ScalingConfig(num_workers=config.workers, use_gpu=config.use_gpu),
        run_config=RunConfig(  # type: ignore[call-arg]  # V1's type
            name=run_name,
            storage_path=path,
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=_RESTARTS),
            logging_config=LoggingConfig(log_level="WARNING"),
            callbacks=[LogEpochs(phase.log())],  # type: ignore[list-item]  # V1's type
        ),
    )
    try:
        result: FitResult = trainer.fit().return_value  # type: ignore[attr-defined]  # V1's type
    except ray.train.TrainingFailedError as error:
        raise TrainingError(f"the workers failed {_RESTARTS + 1} times: {_last_line(error)}") from error
    finally:
        _remove(f"{checkpoints}/{run_name}", store)
    if result.weights is None:
        raise TrainingError(str(result.failure))
    return safetensors.torch.load(result.weights)


def _remove(checkpoints: str, store: Store) -> None:
    """Remove a training's checkpoints, however it has ended: no other training resumes from them."""
    try:
        store.remove_folder(checkpoints)
    except StorageError as error:
        log.warning(
            "checkpoints can't be removed; remove them by hand", folder=checkpoints, reason=str(error)
        )


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _worker(sent: "ray.ObjectRef[Phase]") -> FitResult | None:
    """Train in one of Ray Train's workers, from the last checkpoint if there is one.

    The worker of rank 0 saves checkpoints and returns the result.
    """
    phase: Phase = ray.get(sent)
    context = ray.train.get_context()
    worker = WorkerSlice(context.get_world_rank(), context.get_world_size())
    is_first = worker.rank == 0
    last = ray.train.get_checkpoint()
    checkpoint = _load(last) if last else None
    last_saved = -math.inf

    def report(metrics: Metrics, make_checkpoint: Callable[[], dict[str, Any]]) -> None:
        nonlocal last_saved
        if is_first:
            _worker_log.info(PROGRESS + epoch_text(metrics))
        is_due = is_first and time.monotonic() - last_saved > _CHECKPOINT_SECONDS
        _report(metrics, make_checkpoint() if is_due else None)
        last_saved = time.monotonic() if is_due else last_saved

    observed = (
        phase.system_metrics(f"node{context.get_node_rank()}")
        if context.get_local_rank() == 0
        else nullcontext()
    )
    with observed:
        result = _fit_result(phase, worker, checkpoint, report)
    return result if is_first else None


def _fit_result(
    phase: Phase, worker: WorkerSlice, checkpoint: dict[str, Any] | None, report: Report
) -> FitResult:
    """Train; return how it ended.

    A loss that isn't finite is returned and not raised: Ray would start the workers again, to no avail.
    """
    device, parallel = ray.train.torch.get_device(), ray.train.torch.prepare_model
    try:
        weights = train_loop(phase.job, worker, device, parallel, checkpoint, report)
    except FloatingPointError as error:
        return FitResult(failure=str(error))
    on_cpu = {name: tensor.cpu().contiguous() for name, tensor in weights.items()}
    return FitResult(safetensors.torch.save(on_cpu))


def _report(metrics: Metrics, checkpoint: dict[str, Any] | None) -> None:
    if checkpoint is None:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(checkpoint, Path(folder) / _CHECKPOINT)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _load(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    with checkpoint.as_directory() as folder:
        content: dict[str, Any] = torch.load(
            Path(folder) / _CHECKPOINT, map_location="cpu", weights_only=True
        )
    return content
