"""One real training: two DDP workers over gloo, a bucket, MLflow on SQLite."""

import math

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from model.spec import InputSpec
from pipelines.bundles import read_bundle, resolve_bundle
from pipelines.config import TrackingConfig
from pipelines.errors import BundleError, ConfigError, StorageError
from pipelines.labels import load_chips, read_labels
from pipelines.storage import Store
from pipelines.train.config import InputConfig, NetworkConfig, TrainConfig
from pipelines.train.loop import rate_at
from pipelines.train.run import run_train

EPOCHS = 8


@pytest.fixture(scope="module")
def config(store, write_scenes, tmp_path_factory):
    root = "s3://archive/training"
    scenes = write_scenes(store, root)
    return TrainConfig(
        manifest=scenes.manifest,
        bundles=f"{root}/bundles",
        network=NetworkConfig(node="layer1", num_bits=16),
        input=InputConfig(size=16),
        weights="none",
        epochs=EPOCHS,
        batch_size=24,
        learning_rate=3e-3,
        workers=2,
        store=store.config,
        tracking=TrackingConfig(uri=f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"),
    )


@pytest.fixture(scope="module")
def report(config, ray_local):
    return run_train(config)


@pytest.fixture(scope="module")
def mlflow(config):
    return MlflowClient(tracking_uri=config.tracking.uri)


def test_it_learns_to_tell_the_textures_apart(report):
    assert (report.chips, report.classes) == (144, 3)
    assert report.metrics["val_precision_at_10"] > 0.9  # chance is 1 / 3
    assert report.metrics["loss"] < 0.9


def test_the_bundle_is_whole_and_says_what_it_is(report, store):
    manifest, network = read_bundle(report.bundle, store)
    assert manifest.model_id == report.model_id
    assert manifest.class_names == ("checks", "flat", "stripes")
    assert manifest.input == InputSpec(size=16)
    assert manifest.training_run_id == report.run_id
    assert manifest.metrics["val_precision_at_10"] == report.metrics["val_precision_at_10"]
    codes_BY = network.encode(torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8))
    assert codes_BY.shape == (4, 2)


def test_the_registry_leads_to_the_bundle(report, config):
    assert resolve_bundle("models:/scenehash@champion", config.tracking) == report.bundle
    assert resolve_bundle(f"models:/scenehash/{report.version}", config.tracking) == report.bundle
    with pytest.raises(BundleError, match="isn't registered"):
        resolve_bundle("models:/scenehash@nobody", config.tracking)
    with pytest.raises(ConfigError, match="write models:/name@alias"):
        resolve_bundle("models:/scenehash", config.tracking)


def test_mlflow_has_one_finished_run_with_every_epoch(report, mlflow):
    run = mlflow.get_run(report.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["backbone"] == "resnet18"
    assert run.data.metrics["val_distinct_ratio"] == report.metrics["val_distinct_ratio"]
    history = mlflow.get_metric_history(report.run_id, "train_loss")
    assert [point.step for point in history] == list(range(1, EPOCHS + 1))
    assert history[-1].value < history[0].value
    assert len(mlflow.search_runs([run.info.experiment_id])) == 1


def test_checkpoints_are_gone_when_the_bundle_is_there(report, config, store):
    assert [info.uri for info in store.list(config.bundles) if "_checkpoints" in info.uri] == []


@pytest.mark.usefixtures("ray_local")
def test_chips_are_the_manifests_windows(config, store):
    labels = read_labels(config.manifest, store)
    batch = load_chips(labels, "validation", (1, 2, 3), store).take_batch(1000)
    assert batch["chip"].shape == (48, 16, 16, 3)
    assert np.bincount(batch["class_id"]).tolist() == [16, 16, 16]


@pytest.mark.usefixtures("ray_local")
def test_the_patents_objectives_train_too_and_log_their_terms(config, mlflow):
    change = {
        "objective": "pairwise",
        "network": NetworkConfig(node="layer1", num_bits=16, head="linear"),
        "tracking": config.tracking.model_copy(update={"experiment": "patents"}),
        "workers": 1,
        "epochs": 4,
    }
    report = run_train(config.model_copy(update=change))
    run = mlflow.get_run(report.run_id)
    terms = {f"train_{name}" for name in ("similar", "dissimilar", "uniform", "quantisation")}
    assert terms <= set(run.data.metrics)
    assert sum(run.data.metrics[name] for name in terms) == pytest.approx(run.data.metrics["train_loss"])
    history = [point.value for point in mlflow.get_metric_history(report.run_id, "train_loss")]
    assert history[-1] < history[0]
    assert read_bundle(report.bundle, Store(config.store))[0].network.head == "linear"


def test_dry_run_counts_and_trains_nothing(config, tmp_path):
    tracking = TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db")
    report = run_train(config.model_copy(update={"dry_run": True, "tracking": tracking}))
    assert (report.chips, report.classes, report.bundle) == (144, 3, None)
    assert not (tmp_path / "mlflow.db").exists()


def test_the_rate_warms_up_and_falls():
    rates = [rate_at(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == 1
    assert np.argmax(rates) in (9, 10)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert math.isclose(rates[100], 0, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"manifest": "s3://archive/none.parquet"}, StorageError, "doesn't exist"),
        ({"manifest": "s3://archive/training/scenes/000.tif"}, ConfigError, "isn't a Parquet file"),
        ({"network": NetworkConfig(backbone="resnet0")}, ConfigError, "unknown backbone"),
        ({"weights": "/no/such/file.safetensors"}, ConfigError, "No such file"),
        ({"batch_size": 1024}, ConfigError, "144 training chips don't fill a batch of 1024"),
    ],
)
def test_the_users_mistakes_are_told(config, ray_local, change, error, message):
    with pytest.raises(error, match=message):
        run_train(config.model_copy(update=change))


def test_batch_must_divide_among_the_workers(config):
    with pytest.raises(ValueError, match="multiple of workers"):
        TrainConfig(manifest="m", bundles="b", batch_size=5, workers=2)
