"""The training run: labelled chips in, a registered bundle out.

Shapes: N chips, H x W pixels, C bands, Y bytes a code.
"""

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import structlog
import torch
from pydantic import BaseModel, ConfigDict
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from model.bundle import pack_bundle
from model.metrics import code_health, precision_at_k
from model.network import HashNetwork
from pipelines import tracking
from pipelines.bundles import write_bundle
from pipelines.cluster import connected, warn_if_short
from pipelines.errors import ConfigError, TrainingError
from pipelines.labels import READ_CPUS, Labels, load_chips, read_labels
from pipelines.storage import Store
from pipelines.train.callbacks import MetricsToMLflow
from pipelines.train.config import TrainConfig
from pipelines.train.loop import CHECKPOINT, train_loop

log = structlog.get_logger()

_RESTARTS = 3  # times that the workers may die before the training does
_NEIGHBOURS = 10


class TrainReport(BaseModel):
    """What a training made."""

    model_config = ConfigDict(frozen=True)

    run_id: str | None = None
    """MLflow run; None, as all that follows, after a dry run."""
    model_id: str | None = None
    bundle: str | None = None
    """URI of the bundle."""
    version: str | None = None
    """Version in the MLflow registry."""
    chips: int
    """Chips trained on."""
    classes: int
    metrics: dict[str, float] = {}
    """Of the codes of the validation split, and the last epoch's loss."""
    seconds: float


def run_train(config: TrainConfig) -> TrainReport:
    """Train, write the bundle, register it. Needs a running Ray, or starts one on this machine.

    Raises ConfigError where the manifest or the network doesn't fit, StorageError where a URI doesn't.
    """
    started = time.monotonic()
    config = config.model_copy(update={"tracking": tracking.resolved(config.tracking)})
    store = Store(config.store)
    store.require_bucket(config.bundles)
    labels = read_labels(config.manifest, store)
    _check_network(config)
    steps = _steps_an_epoch(config, labels)
    if config.dry_run:
        return TrainReport(
            chips=labels.count("train"), classes=len(labels.class_names), seconds=_since(started)
        )
    with connected(), tracking.tracked_run(config.tracking, config.name, _params(config, labels)) as run_id:
        warn_if_short((0 if config.use_gpu else config.workers) + READ_CPUS)
        network, loss = _fit(config, labels, steps, store, run_id)
        metrics = {"loss": loss} | _validate(config, labels, store, network)
        manifest, files = pack_bundle(network, config.name, labels.class_names, run_id, metrics)
        bundle_uri = f"{config.bundles.rstrip('/')}/{manifest.model_id}"
        write_bundle(bundle_uri, files, store)
        tracking.log_metrics(config.tracking, run_id, metrics)
        version = tracking.register(config.tracking, config.name, bundle_uri, run_id, config.alias)
    return TrainReport(
        run_id=run_id,
        model_id=manifest.model_id,
        bundle=bundle_uri,
        version=version,
        chips=labels.count("train"),
        classes=len(labels.class_names),
        metrics=metrics,
        seconds=_since(started),
    )


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def _check_network(config: TrainConfig) -> None:
    """Build the network once on the driver: a wrong name is told now, not by a worker's traceback."""
    try:
        HashNetwork(config.network, config.input, config.weights)
    except (ValueError, OSError) as error:
        raise ConfigError(f"network: {error}") from error


def _params(config: TrainConfig, labels: Labels) -> dict[str, object]:
    flat = config.model_dump(exclude={"store", "tracking", "network", "input"})
    return flat | asdict(config.network) | asdict(config.input) | {"classes": len(labels.class_names)}


def _steps_an_epoch(config: TrainConfig, labels: Labels) -> int:
    """Return how many whole batches each worker's equal share holds. Raises ConfigError where it is none."""
    steps = labels.count("train") // config.workers // (config.batch_size // config.workers)
    if not steps:
        raise ConfigError(f"{labels.count('train')} training chips don't fill a batch of {config.batch_size}")
    return steps


def _fit(
    config: TrainConfig, labels: Labels, steps: int, store: Store, run_id: str
) -> tuple[HashNetwork, float]:
    """Return the trained network in eval mode, and the last epoch's loss."""
    chips = load_chips(labels, "train", config.input.bands, store).random_shuffle(seed=config.seed)
    checkpoints = f"{config.bundles.rstrip('/')}/_checkpoints"
    filesystem, path = store.arrow_filesystem(checkpoints)
    trainer = TorchTrainer(
        lambda: train_loop(config, len(labels.class_names), steps),
        scaling_config=ScalingConfig(num_workers=config.workers, use_gpu=config.use_gpu),
        run_config=RunConfig(
            name=run_id,  # a name of its own: Ray resumes an old run of the same name silently
            storage_path=path,
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=_RESTARTS),
            callbacks=[MetricsToMLflow(config.tracking, run_id)],  # type: ignore[list-item]  # V1's type
        ),
        datasets={"train": chips.materialize()},
    )
    result = trainer.fit()
    if result.checkpoint is None or result.metrics is None:
        raise TrainingError("the training ended without a checkpoint")
    with result.checkpoint.as_directory() as folder:
        saved = torch.load(Path(folder) / CHECKPOINT, map_location="cpu", weights_only=True)
    store.remove_folder(f"{checkpoints}/{run_id}")
    network = HashNetwork(config.network, config.input)
    network.load_state_dict(saved["network"])
    return network.eval(), float(result.metrics["loss"])


def _validate(config: TrainConfig, labels: Labels, store: Store, network: HashNetwork) -> dict[str, float]:
    """Measure the codes of the validation split, leave-one-out; nothing where it has too few chips."""
    if labels.count("validation") <= _NEIGHBOURS:
        log.warning("no validation figures", chips=labels.count("validation"))
        return {}
    dataset = load_chips(labels, "validation", config.input.bands, store)
    codes, classes = [], []
    for batch in dataset.iter_batches(batch_size=config.batch_size):
        codes.append(network.encode(torch.from_numpy(batch["chip"].copy())))
        classes.append(batch["class_id"])
    codes_NY, classes_N = np.concatenate(codes), np.concatenate(classes)
    rows_N = np.arange(len(codes_NY))
    precision = precision_at_k(codes_NY, classes_N, codes_NY, classes_N, _NEIGHBOURS, own_rows_Q=rows_N)
    return {f"val_precision_at_{_NEIGHBOURS}": precision} | {
        f"val_{name}": value for name, value in asdict(code_health(codes_NY)).items()
    }
