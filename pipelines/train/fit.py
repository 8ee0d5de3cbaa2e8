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
import structlog
import torch
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch import Tensor

from model.training import ALONE, Share
from pipelines.config import TrackingConfig
from pipelines.errors import StorageError, TrainingError
from pipelines.registry import tracking
from pipelines.storage.store import Store
from pipelines.train.callbacks import EpochLog, LogEpochs, said
from pipelines.train.config import TrainConfig
from pipelines.train.loop import Metrics, Report, TrainJob, train_loop

log = structlog.get_logger()
_worker_log = logging.getLogger("ray.train")  # Ray brings what it says to the driver's terminal

_RESTARTS = 3  # times that the workers may die before the training does
_CHECKPOINT = "checkpoint.pt"
_FINAL, _FAILED = "final", "failed"  # keys of the last checkpoint: the weights, or why there are none
_CHECKPOINT_SECONDS = 20  # between two: seconds of training shouldn't wait for minutes of saving


@dataclass(frozen=True)
class Phase:
    """One training of a run: the recipe, or the head alone before or after it."""

    name: str
    """Empty for the training itself; else it stands before its figures' names in MLflow."""
    job: TrainJob
    tracking: TrackingConfig
    run_id: str

    def log(self) -> EpochLog:
        """Return what logs its epochs."""
        return EpochLog(self.tracking, self.run_id, f"{self.name}/" if self.name else "")

    def system_metrics(self, node: str) -> AbstractContextManager[None]:
        """Log what a machine does meanwhile."""
        return tracking.system_metrics(self.tracking, self.run_id, node)


def fit(phase: Phase, config: TrainConfig, store: Store) -> dict[str, Tensor]:
    """Train; return the weights of what was trained. Raises TrainingError where the workers keep failing."""
    if config.workers == 0:
        return _fit_here(phase, torch.device("cuda" if config.use_gpu else "cpu"))
    return _fit_with_ray(phase, config, store)


def _fit_here(phase: Phase, device: torch.device) -> dict[str, Tensor]:
    epochs = phase.log()

    def report(metrics: Metrics, _: object) -> None:
        epochs(metrics)
        log.info(said(metrics))

    with phase.system_metrics("node0"):
        try:
            return train_loop(phase.job, ALONE, device, lambda module: module, None, report)
        except FloatingPointError as error:
            raise TrainingError(str(error)) from error


def _fit_with_ray(phase: Phase, config: TrainConfig, store: Store) -> dict[str, Tensor]:
    checkpoints = f"{config.bundles.rstrip('/')}/_checkpoints"
    # one of its own: Ray resumes an old run of the same name silently
    run_name = f"{phase.run_id}{phase.name}"
    filesystem, path = store.arrow_filesystem(checkpoints)
    # workers that have reported an epoch wait until Ray asks: by itself, once in two seconds
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    sent = ray.put(phase)
    trainer = TorchTrainer(
        lambda: _worker(sent),
        scaling_config=ScalingConfig(num_workers=config.workers, use_gpu=config.use_gpu),
        run_config=RunConfig(
            name=run_name,
            storage_path=path,
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=_RESTARTS),
            callbacks=[LogEpochs(phase.log())],  # type: ignore[list-item]  # V1's type
        ),
    )
    try:
        result = trainer.fit()
        content = _load(result.checkpoint) if result.checkpoint else {}
    except ray.train.TrainingFailedError as error:
        raise TrainingError(f"the workers failed {_RESTARTS + 1} times: {_last_line(error)}") from error
    finally:
        _remove(f"{checkpoints}/{run_name}", store)
    if _FINAL not in content:
        raise TrainingError(content.get(_FAILED, "the training ended without weights"))
    weights: dict[str, Tensor] = content[_FINAL]
    return weights


def _remove(checkpoints: str, store: Store) -> None:
    """Remove a training's checkpoints, however it has ended: no other training goes on from them."""
    try:
        store.remove_folder(checkpoints)
    except StorageError as error:
        log.warning("checkpoints stay: remove them", folder=checkpoints, reason=str(error))


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _worker(sent: "ray.ObjectRef[Phase]") -> None:
    """Train in one of Ray Train's workers; the first one saves checkpoints, and the weights at the end."""
    phase: Phase = ray.get(sent)
    context = ray.train.get_context()
    share = Share(context.get_world_rank(), context.get_world_size())
    last = ray.train.get_checkpoint()
    checkpoint = _load(last) if last else None
    if checkpoint and (_FINAL in checkpoint or _FAILED in checkpoint):
        return  # a worker died after the end
    saved = -math.inf

    def report(metrics: Metrics, make: Callable[[], dict[str, Any]]) -> None:
        nonlocal saved
        if share.rank == 0:
            _worker_log.info(said(metrics))
        wanted = share.rank == 0 and time.monotonic() - saved > _CHECKPOINT_SECONDS
        _report(metrics, make() if wanted else None)
        saved = time.monotonic() if wanted else saved

    observed = (
        phase.system_metrics(f"node{context.get_node_rank()}")
        if context.get_local_rank() == 0
        else nullcontext()
    )
    with observed:
        outcome = _outcome(phase, share, checkpoint, report)
    _report({}, outcome if share.rank == 0 else None)


def _outcome(phase: Phase, share: Share, checkpoint: dict[str, Any] | None, report: Report) -> dict[str, Any]:
    """Return the weights, or why there are none: what would fail again isn't started again."""
    device, parallel = ray.train.torch.get_device(), ray.train.torch.prepare_model
    try:
        return {_FINAL: train_loop(phase.job, share, device, parallel, checkpoint, report)}
    except FloatingPointError as error:
        return {_FAILED: str(error)}


def _report(metrics: Metrics, content: dict[str, Any] | None) -> None:
    if content is None:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(content, Path(folder) / _CHECKPOINT)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _load(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    with checkpoint.as_directory() as folder:
        content: dict[str, Any] = torch.load(
            Path(folder) / _CHECKPOINT, map_location="cpu", weights_only=True
        )
    return content
