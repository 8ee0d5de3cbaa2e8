"""Codes with look bits: fitted after the head, again after fine-tuning, and kept where labels come later."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.config import FeatureConfig
from pipelines.errors import ConfigError
from pipelines.labels.dataset import read_labels
from pipelines.labels.features import compute_views
from pipelines.registry.bundles import read_bundle
from pipelines.train.config import NetworkConfig, RecipeConfig
from pipelines.train.run import fitting, run_train
from pipelines.train.validation import ORDER, SCORE, TRAINED, UNSEEN

pytestmark = pytest.mark.usefixtures("ray_local")

TWO_PARTS = NetworkConfig(backbone="resnet18", node="layer1", hidden=0, kind_bits=16, look_bits=32)


@pytest.fixture(scope="module")
def both(frozen, ray_local):
    return run_train(frozen.model_copy(update={"network": TWO_PARTS, "name": "both"}))


def test_both_parts_are_in_the_bundle(both, store):
    manifest, network = read_bundle(both.bundle, store)
    assert [(part.name, part.bits) for part in manifest.network.code.parts] == [("kind", 16), ("look", 32)]
    assert torch.allclose(network.look.projection_DK.norm(dim=0).isfinite().float(), torch.ones(32))
    assert both.metrics[SCORE] == pytest.approx((both.metrics[TRAINED] + both.metrics[ORDER]) / 2)
    assert both.metrics[TRAINED] > 0.8


def test_look_bits_are_the_same_with_any_number_of_workers(both, frozen, store):
    changes = {"network": TWO_PARTS, "workers": 2, "promote": "never", "name": "spread"}
    spread = run_train(frozen.model_copy(update=changes))
    alone, many = (read_bundle(report.bundle, store)[1].look.state_dict() for report in (both, spread))
    assert alone.keys() == many.keys()
    assert all(torch.equal(alone[name], many[name]) for name in alone)


def test_after_fine_tuning_look_bits_are_fitted_again(frozen, store, scenes, root):
    recipe = RecipeConfig(epochs=1, batch_size=24, backbone_learning_rate=1e-3)
    changes = {"network": TWO_PARTS, "recipe": recipe, "promote": "never", "name": "tuned-look"}
    report = run_train(frozen.model_copy(update=changes))
    _, network = read_bundle(report.bundle, store)
    train = read_labels(scenes.manifest, store).rows("train")
    asked = dict.fromkeys((0, 1), train)
    computed = compute_views(asked, network, store, FeatureConfig(), f"{root}/features")
    views = [each.features_ND for each in computed.values()]
    expected = {name: value.clone() for name, value in network.look.state_dict().items()}
    network.look.fit(np.stack(views, axis=1), frozen.seed)
    for name, value in network.look.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def test_labels_that_come_later_leave_the_look_bits_as_they_are(both, frozen, store):
    network = NetworkConfig(head="linear", kind_bits=24)
    changes = {"look_from": both.bundle, "network": network, "weights": "imagenet", "name": "later"}
    report = run_train(frozen.model_copy(update=changes))
    (before, old), (after, new) = (read_bundle(uri, store) for uri in (both.bundle, report.bundle))
    assert (after.network.kind_bits, after.network.look_bits) == (24, 32)
    assert (after.network.backbone, after.network.node, after.input) == ("resnet18", "layer1", before.input)
    for part in ("look", "backbone"):
        states = [getattr(network, part).state_dict() for network in (old, new)]
        assert all(
            states[0][key].numpy().tobytes() == value.numpy().tobytes() for key, value in states[1].items()
        )
    features_ND = np.random.default_rng(0).random((50, 64), np.float32)
    np.testing.assert_array_equal(
        new.encode_features(features_ND)[:, 3:], old.encode_features(features_ND)[:, 2:]
    )
    assert report.metrics[TRAINED] > 0.8


def test_a_bundle_without_look_bits_has_none_to_take(frozen, tmp_path):
    plain = run_train(frozen.model_copy(update={"promote": "never", "name": "plain"}))
    with pytest.raises(ConfigError, match="has no look bits to take"):
        run_train(frozen.model_copy(update={"look_from": plain.bundle}))


def rewritten(store, scenes, root, change):
    rows = [change(row) for row in pq.read_table(io.BytesIO(store.read(scenes.manifest))).to_pylist()]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row for row in rows if row]), buffer)
    store.write(f"{root}/labels.parquet", buffer.getvalue())
    return f"{root}/labels.parquet"


def test_classes_that_only_validate_count_as_unseen(frozen, store, scenes, root):
    def change(row):
        unseen = row["label"] == "stripes"
        return row | {"split": "validation"} if unseen else row

    source = rewritten(store, scenes, root, change)
    report = run_train(frozen.model_copy(update={"source": source, "promote": "never"}))
    assert (report.classes, report.validation_chips) == (2, 96)
    assert report.metrics[SCORE] == pytest.approx((report.metrics[TRAINED] + report.metrics[UNSEEN]) / 2)
    assert read_bundle(report.bundle, store)[0].class_names == ("checks", "flat")


def test_few_chips_make_smaller_batches(frozen, store, scenes, root):
    source = rewritten(
        store, scenes, root, lambda row: row if row["window"]["x"] == row["window"]["y"] == 0 else None
    )
    recipe = RecipeConfig(epochs=2)
    report = run_train(frozen.model_copy(update={"source": source, "recipe": recipe, "promote": "never"}))
    assert (report.chips, report.validation_chips) == (9, 3)


@pytest.mark.parametrize(("chips", "workers", "batch"), [(15, 1, 15), (15, 2, 14), (128, 4, 128), (2, 1, 2)])
def test_batches_are_shared_out_evenly(chips, workers, batch):
    assert fitting(RecipeConfig(), chips, workers).batch_size == batch


@pytest.mark.parametrize(("chips", "workers"), [(1, 1), (3, 4)])
def test_too_few_chips_are_told(chips, workers):
    with pytest.raises(ConfigError, match=f"{chips} training chips are too few for {workers}"):
        fitting(RecipeConfig(), chips, workers)
