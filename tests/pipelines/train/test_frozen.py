"""Heads on a frozen backbone: features are computed once; what promotion goes by."""

import io
import sqlite3
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.backbones import read_weights
from pipelines.errors import ConfigError, TrackingError, TrainingError
from pipelines.registry import tracking as tracking_module
from pipelines.registry.bundles import read_bundle, resolve_bundle
from pipelines.registry.tracking import client
from pipelines.train.config import NetworkConfig, RecipeConfig
from pipelines.train.run import run_train
from pipelines.train.validation import SCORE, TRAINED

pytestmark = pytest.mark.usefixtures("ray_local")


@pytest.fixture(scope="module")
def first(frozen, ray_local):
    return run_train(frozen)


def cache_files(config, store):
    return {info.uri: info.etag for info in store.list(config.bundles) if "/features/" in info.uri}


def test_it_learns_from_features(first, frozen, store):
    assert first.metrics[TRAINED] > 0.8
    assert len(cache_files(frozen, store)) == 2  # of the chips as they are, and turned


def test_the_backbone_is_the_file_that_was_given(first, store, frozen, weights):
    _, network = read_bundle(first.bundle, store)
    for key, value in read_weights(store.read(weights), weights).items():
        np.testing.assert_array_equal(network.backbone.body.state_dict()[key], value)


def test_another_head_touches_no_pixels(first, frozen, store):
    before = cache_files(frozen, store)
    network = NetworkConfig(backbone="resnet18", node="layer1", head="attention", kind_bits=32)
    changes = {"network": network, "objective": "triplet", "name": "other"}
    report = run_train(frozen.model_copy(update=changes))
    assert read_bundle(report.bundle, store)[0].network.head == "attention"
    assert cache_files(frozen, store) == before


def test_a_bundle_stands_where_mlflow_breaks_down_on_the_way(frozen, store, tmp_path):
    """As the database takes no figures and no versions any more: training goes on, and its bundle is told."""
    tracking = frozen.tracking.model_copy(update={"uri": f"sqlite:///{tmp_path}/broken.db"})
    client(tracking).search_experiments()  # makes the database
    with sqlite3.connect(tmp_path / "broken.db") as database:
        for table in ("latest_metrics", "registered_models"):
            database.execute(f"DROP TABLE {table}")
    with pytest.raises(TrackingError, match=r"the bundle is at s3://.*, but it isn't registered") as caught:
        run_train(frozen.model_copy(update={"tracking": tracking, "name": "untold"}))
    report = caught.value.report
    assert report.metrics[TRAINED] > 0.8
    assert (report.version, report.promoted) == (None, False)
    assert read_bundle(report.bundle, store)[0].model_id == report.model_id


def test_a_training_needs_mlflow_at_its_start(frozen):
    nobody = frozen.tracking.model_copy(update={"uri": "http://127.0.0.1:9"})
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9: "):
        run_train(frozen.model_copy(update={"tracking": nobody}))
    assert time.monotonic() - started < tracking_module.PATIENCE


def test_a_deleted_experiment_is_told_in_a_line(frozen, tmp_path):
    tracking = frozen.tracking.model_copy(update={"uri": f"sqlite:///{tmp_path}/deleted.db"})
    mlflow = client(tracking)
    mlflow.delete_experiment(mlflow.create_experiment(tracking.experiment))
    with pytest.raises(ConfigError, match=r"experiment scenehash at .* has been deleted; restore it"):
        run_train(frozen.model_copy(update={"tracking": tracking}))


def test_the_same_seed_gives_the_same_loss_curve(first, frozen, mlflow):
    again = run_train(frozen.model_copy(update={"promote": "never"}))
    curves = [
        [point.value for point in mlflow.get_metric_history(run_id, "train_loss")]
        for run_id in (first.run_id, again.run_id)
    ]
    assert curves[0] == curves[1]
    other = run_train(frozen.model_copy(update={"promote": "never", "seed": 1}))
    assert [point.value for point in mlflow.get_metric_history(other.run_id, "train_loss")] != curves[0]


def test_fine_tuning_with_the_head_alone_before_and_after(frozen, store, mlflow):
    recipe = RecipeConfig(epochs=1, head_epochs=2, batch_size=24, backbone_learning_rate=1e-3)
    changes = {"recipe": recipe, "name": "around", "bundles": f"{frozen.bundles}-around"}
    config = frozen.model_copy(update=changes)
    report = run_train(config)
    epochs = {
        phase: len(mlflow.get_metric_history(report.run_id, f"{phase}train_loss")) / (144 // 24)
        for phase in ("head_before/", "", "head_after/")
    }
    assert epochs == {"head_before/": 2, "": 1, "head_after/": 2}
    assert len(cache_files(config, store)) == 4  # two views, the backbone as it was, and as it has become


def test_only_a_better_model_takes_the_alias(first, frozen, store):
    champion = "models:/scenehash@champion"
    spoiled = RecipeConfig(epochs=1, batch_size=24, learning_rate=1e-6)
    worse = run_train(frozen.model_copy(update={"recipe": spoiled}))
    assert worse.metrics[SCORE] < first.metrics[SCORE]
    assert not worse.promoted
    assert resolve_bundle(champion, frozen.tracking) == first.bundle
    forced = run_train(frozen.model_copy(update={"recipe": spoiled, "promote": "always"}))
    assert forced.promoted
    assert resolve_bundle(champion, frozen.tracking) == forced.bundle
    again = run_train(frozen)
    assert again.promoted


def test_on_other_chips_the_holder_is_measured_anew(first, frozen, store, root, write_scenes, mlflow):
    other = frozen.model_copy(update={"source": write_scenes(store, root).manifest, "name": "elsewhere"})
    assert run_train(frozen.model_copy(update={"name": "elsewhere"})).promoted
    spoiled = RecipeConfig(epochs=1, batch_size=24, learning_rate=1e-6)
    worse = run_train(other.model_copy(update={"recipe": spoiled}))
    assert not worse.promoted
    store.remove_folder(resolve_bundle("models:/elsewhere@champion", frozen.tracking))
    # a holder that can't be read any more doesn't keep the alias
    assert run_train(other.model_copy(update={"recipe": spoiled})).promoted


def test_use_of_the_machine_is_logged(frozen, mlflow, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    recipe = RecipeConfig(epochs=30, batch_size=24)
    report = run_train(frozen.model_copy(update={"recipe": recipe, "promote": "never"}))
    assert "system/node0/cpu_utilization_percentage" in mlflow.get_run(report.run_id).data.metrics


def test_early_stopping_keeps_the_best(frozen, mlflow):
    recipe = RecipeConfig(epochs=40, batch_size=24, learning_rate=1e-2, patience=2)
    report = run_train(frozen.model_copy(update={"recipe": recipe, "promote": "never"}))
    scores = [point.value for point in mlflow.get_metric_history(report.run_id, SCORE)]
    epochs, final = scores[:-1], scores[-1]
    assert len(epochs) < 40
    assert final == max(epochs) == report.metrics[SCORE]


def test_an_unreadable_scene_is_named(frozen, store, scenes, root):
    table = pq.read_table(io.BytesIO(store.read(scenes.manifest)))
    rows = table.to_pylist()
    torn = f"{root}/torn.tif"
    store.write(torn, store.read(rows[0]["uri"])[:300])  # the others' features lie in the cache
    rows += [rows[0] | {"uri": torn}]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    store.write(f"{root}/labels.parquet", buffer.getvalue())
    config = frozen.model_copy(update={"source": f"{root}/labels.parquet", "promote": "never"})
    report = run_train(config)
    assert list(report.unreadable) == [torn]


def test_several_labels_a_chip_and_a_class_for_the_test_only(frozen, store, scenes, root):
    table = pq.read_table(io.BytesIO(store.read(scenes.manifest)))
    rows = table.to_pylist()
    for row in rows:
        label = row.pop("label")
        row["labels"] = [label] if label == "flat" else [label, "textured"]
        row["split"] = "test" if label == "stripes" else row["split"]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    store.write(f"{root}/labels.parquet", buffer.getvalue())
    config = frozen.model_copy(update={"source": f"{root}/labels.parquet", "promote": "never"})
    report = run_train(config)
    assert read_bundle(report.bundle, store)[0].class_names == ("checks", "flat", "textured")
    assert (report.chips, report.validation_chips) == (96, 32)
    assert report.metrics[TRAINED] > 0.9


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loss_that_is_no_number_ends_the_training_in_one_line(frozen, mlflow, workers):
    recipe = RecipeConfig(epochs=2, batch_size=24, learning_rate=1e30)
    network = NetworkConfig(backbone="resnet18", node="layer1", head="linear", kind_bits=16)
    change = {"recipe": recipe, "workers": workers, "name": f"broken-{workers}", "network": network}
    with pytest.raises(TrainingError, match=r"is (nan|inf) in epoch 1; lower the learning rates"):
        run_train(frozen.model_copy(update=change))
    experiment = mlflow.get_experiment_by_name("scenehash").experiment_id
    runs = mlflow.search_runs([experiment], filter_string=f"run_name = 'broken-{workers}'")
    assert [run.info.status for run in runs] == ["FAILED"]
