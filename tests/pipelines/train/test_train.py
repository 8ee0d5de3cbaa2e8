"""Trainings of all layers, by two DDP workers over gloo: from nothing, and after a worker was killed."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from model.spec import InputSpec
from pipelines.errors import BundleError, ConfigError, StorageError, TrainingError
from pipelines.registry.bundles import read_bundle, resolve_bundle
from pipelines.storage.store import Store
from pipelines.train import fit
from pipelines.train.config import NetworkConfig, RecipeConfig, TrainConfig
from pipelines.train.run import run_train
from pipelines.train.validation import SCORE, TRAINED

STEPS = 6  # an epoch: 144 training chips, 24 a batch


@pytest.fixture(scope="module")
def report(tuned, ray_local):
    return run_train(tuned)


def test_it_learns_to_tell_the_textures_apart(report):
    assert (report.chips, report.validation_chips, report.classes) == (144, 48, 3)
    assert report.metrics[TRAINED] > 0.9  # chance is 1 / 3
    assert report.unreadable == {}


def test_the_bundle_is_whole_and_says_what_it_is(report, store):
    manifest, network = read_bundle(report.bundle, store)
    assert manifest.model_id == report.model_id
    assert manifest.class_names == ("checks", "flat", "stripes")
    assert manifest.input == InputSpec(size=16)
    assert manifest.training_run_id == report.run_id
    assert manifest.metrics[SCORE] == report.metrics[SCORE]
    codes_BY = network.encode(torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8))
    assert codes_BY.shape == (4, 2)


def test_the_registry_leads_to_the_bundle(report, tuned):
    assert report.promoted  # nobody held the alias
    assert resolve_bundle("models:/tuned@champion", tuned.tracking) == report.bundle
    assert resolve_bundle(f"models:/tuned/{report.version}", tuned.tracking) == report.bundle
    with pytest.raises(BundleError, match="isn't registered"):
        resolve_bundle("models:/tuned@nobody", tuned.tracking)
    with pytest.raises(ConfigError, match="write models:/name@alias"):
        resolve_bundle("models:/tuned", tuned.tracking)


def test_mlflow_has_one_finished_run_with_every_step(report, tuned, mlflow):
    run = mlflow.get_run(report.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["network.backbone"] == "resnet18"
    assert run.data.params["input.size"] == "16"
    assert run.data.metrics["val_distinct_ratio"] == report.metrics["val_distinct_ratio"]
    assert run.data.tags["scenehash.validation"]
    history = mlflow.get_metric_history(report.run_id, "train_orthohash")
    assert [point.step for point in history] == list(range(1, STEPS * tuned.recipe.epochs + 1))
    assert history[-1].value < history[0].value
    scores = mlflow.get_metric_history(report.run_id, "val_bit_entropy")
    assert [point.step for point in scores][: tuned.recipe.epochs] == [
        STEPS * epoch for epoch in range(1, tuned.recipe.epochs + 1)
    ]
    assert len(mlflow.search_runs([run.info.experiment_id], filter_string="run_name = 'tuned'")) == 1


def test_checkpoints_are_gone_when_the_bundle_is_there(report, tuned, store):
    assert [info.uri for info in store.list(tuned.bundles) if "_checkpoints" in info.uri] == []


def _training_worker() -> int | None:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"RayTrainWorker" in entry.read_bytes():
                return int(entry.parent.name)
        except OSError:  # it has just ended
            continue
    return None


@pytest.mark.timeout(400)  # twice the start of two workers, on a machine that may be busy
def test_a_killed_worker_costs_no_epoch_and_no_second_run(tuned, store, mlflow, ray_local):
    change = {"name": "killed", "bundles": f"{tuned.bundles}-killed", "recipe": _long(tuned), "workers": 1}
    config = tuned.model_copy(update=change)
    killed = _kill_after_a_checkpoint(config, store)
    report = run_train(config)
    assert len(killed) == 1
    run = mlflow.get_run(report.run_id)
    history = mlflow.get_metric_history(report.run_id, "train_loss")
    assert [point.step for point in history] == list(range(1, STEPS * config.recipe.epochs + 1))
    assert run.info.status == "FINISHED"
    assert len(mlflow.search_runs([run.info.experiment_id], filter_string="run_name = 'killed'")) == 1
    assert report.metrics[TRAINED] > 0.9


def _kill_after_a_checkpoint(config: TrainConfig, store: Store) -> list[int]:
    """Kill a training's worker once it has saved a checkpoint; its process id will stand in the list."""
    killed: list[int] = []

    def kill() -> None:
        while not any("checkpoint.pt" in info.uri for info in store.list(config.bundles)):
            time.sleep(0.05)
        while (pid := _training_worker()) is None:
            time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    threading.Thread(target=kill, daemon=True).start()
    return killed


@pytest.mark.timeout(400)
def test_a_training_that_fails_leaves_no_checkpoints(tuned, store, mlflow, ray_local, monkeypatch):
    monkeypatch.setattr(fit, "_RESTARTS", 0)
    change = {"name": "failed", "bundles": f"{tuned.bundles}-failed", "recipe": _long(tuned), "workers": 1}
    config = tuned.model_copy(update=change)
    killed = _kill_after_a_checkpoint(config, store)
    with pytest.raises(TrainingError, match="the workers failed 1 times"):
        run_train(config)
    assert killed, "there was a checkpoint"
    assert list(store.list(config.bundles)) == []


def _long(tuned: TrainConfig) -> RecipeConfig:
    return RecipeConfig(epochs=24, batch_size=24, learning_rate=3e-3, backbone_learning_rate=3e-3)


def test_dry_run_counts_and_trains_nothing(tuned, tmp_path):
    tracking = tuned.tracking.model_copy(update={"uri": f"sqlite:///{tmp_path}/mlflow.db"})
    report = run_train(tuned.model_copy(update={"dry_run": True, "tracking": tracking}))
    assert (report.chips, report.classes, report.bundle) == (144, 3, None)
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"source": "s3://archive/none.parquet"}, StorageError, "doesn't exist"),
        ({"source": "s3://no-such-bucket/none"}, StorageError, "no such bucket"),
        ({"network": NetworkConfig(backbone="resnet0")}, ConfigError, "unknown backbone"),
        ({"weights": "/no/such/file.safetensors"}, ConfigError, "don't exist"),
    ],
)
def test_the_users_mistakes_are_told(tuned, change, error, message):
    with pytest.raises(error, match=message):
        run_train(tuned.model_copy(update=change))
