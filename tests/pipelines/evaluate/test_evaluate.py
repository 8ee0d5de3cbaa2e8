"""One evaluation of an untrained network, on a real bucket and a real Ray."""

import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.bundle import pack_bundle
from model.codes import hamming_distances
from model.metrics import code_health
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.bundles import read_bundle, write_bundle
from pipelines.errors import BundleError, ConfigError, StorageError
from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import EvaluateReport
from pipelines.evaluate.run import run_evaluate
from pipelines.imagery import open_raster, read_window
from pipelines.labels import read_labels

pytestmark = pytest.mark.usefixtures("ray_local")


def write_manifest(store, uri, rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    store.write(uri, buffer.getvalue())
    return uri


@pytest.fixture(scope="module")
def rows(store, write_scenes):
    """Twelve scenes of sixteen chips: six to train, one to validate, five to test."""
    scenes = write_scenes(store, "s3://archive/evaluation")
    rows = pq.read_table(io.BytesIO(store.read(scenes.manifest))).to_pylist()
    for row in rows:
        number = int(row["uri"][-7:-4])
        row["split"] = "train" if number < 6 else "validation" if number == 6 else "test"
    return rows


@pytest.fixture(scope="module")
def config(store, rows):
    root = "s3://archive/evaluation"
    torch.manual_seed(0)
    network = HashNetwork(NetworkSpec(node="layer1", num_bits=16), InputSpec(size=16)).eval()
    manifest, files = pack_bundle(network, "tiny", ("checks", "flat"), "run", {})
    write_bundle(f"{root}/bundles/{manifest.model_id}", files, store)
    return EvaluateConfig(
        bundle=f"{root}/bundles/{manifest.model_id}",
        manifest=write_manifest(store, f"{root}/splits.parquet", rows),
        output=f"{root}/output",
        batch_size=20,
        store=store.config,
    )


@pytest.fixture(scope="module")
def report(config, ray_local):
    return run_evaluate(config)


@pytest.fixture(scope="module")
def encoded(config, store):
    """The slow reference: codes_NY and class_N of each split, one chip after the other."""
    _, network = read_bundle(config.bundle, store)
    splits = {"train": ([], []), "validation": ([], []), "test": ([], [])}
    for row in read_labels(config.manifest, store).chips.to_pylist():
        with open_raster(store.read(row["uri"])) as dataset:
            chip_HWC = read_window(dataset, tuple(row["window"].values()), (1, 2, 3))
        codes, classes = splits[row["split"]]
        codes.append(network.encode(torch.from_numpy(chip_HWC)[None])[0])
        classes.append(row["class_id"])
    return {split: (np.stack(codes), np.array(classes)) for split, (codes, classes) in splits.items()}


def mean_over_shuffles(distances_QN, relevant_QN, k):
    """AP@k with ties in random order, the mean of many."""
    rng = np.random.default_rng(0)
    values = []
    for distances_N, relevant_N in zip(distances_QN, relevant_QN, strict=True):
        for _ in range(60):
            order_N = np.lexsort([rng.random(len(distances_N)), distances_N])
            ranked_N = relevant_N[order_N]
            precision_N = np.cumsum(ranked_N) / np.arange(1, len(ranked_N) + 1)
            values.append((precision_N * ranked_N)[:k].sum() / min(k, ranked_N.sum()))
    return np.mean(values)


def test_what_was_measured(report, config):
    assert report.chips == {"train": 96, "validation": 16, "test": 80}
    assert (report.bits, report.features, report.classes, report.unseen_classes) == (16, 64, 3, ["stripes"])
    names = ["this bundle", "cosine, float features", "sign of all features", "PCA + sign", "ITQ"]
    for protocol, database in zip(report.protocols, (80, 96), strict=True):
        assert (protocol.queries, protocol.unanswerable, protocol.database) == (80, 0, database)
        assert [figures.method for figures in protocol.methods] == names
        assert [figures.bits for figures in protocol.methods] == [16, None, 64, 16, 16]


def test_the_bundles_figures_against_the_slow_reference(report, encoded):
    test_codes, test_classes = encoded["test"]
    for protocol, database in zip(report.protocols, ("test", "train"), strict=True):
        codes_NY, classes_N = encoded[database]
        distances_QN = hamming_distances(test_codes, codes_NY)
        relevant_QN = test_classes[:, None] == classes_N
        if database == "test":
            others_QN = ~np.eye(len(test_codes), dtype=bool)
            distances_QN, relevant_QN = (x[others_QN].reshape(80, 79) for x in (distances_QN, relevant_QN))
        own = protocol.methods[0]
        assert own.map_all == pytest.approx(mean_over_shuffles(distances_QN, relevant_QN, 999), abs=0.01)
        assert own.map_at_k[20] == pytest.approx(mean_over_shuffles(distances_QN, relevant_QN, 20), abs=0.01)
        assert protocol.same_class == np.bincount(distances_QN[relevant_QN], minlength=17).tolist()
        assert protocol.different_class == np.bincount(distances_QN[~relevant_QN], minlength=17).tolist()
        shares = np.bincount(test_classes) / len(test_classes)
        assert np.dot(shares, list(own.map_of_class.values())) == pytest.approx(own.map_all)


def test_health_of_every_split(report, encoded):
    for split, (codes_NY, _) in encoded.items():
        assert report.health[split] == pytest.approx(asdict(code_health(codes_NY)))


def test_baselines_are_above_chance(report):
    for protocol in report.protocols:
        for figures in protocol.methods:
            assert 1 / 3 < figures.map_all <= 1
            assert set(figures.map_of_class) == {"checks", "flat", "stripes"}


def test_what_is_written(report, config, store):
    saved = EvaluateReport.model_validate_json(store.read(f"{config.output}/evaluation.json"))
    assert saved == report
    assert report.page == f"{config.output}/evaluation.html"
    assert "NaN" not in json.dumps(saved.model_dump())


def test_the_page_is_whole_and_fetches_nothing(report, store):
    page = store.read(report.page).decode()
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script", page)
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 6
    for drawing in drawings:
        ET.fromstring(drawing)
        assert "nan" not in drawing
    for protocol in report.protocols:
        for figures in protocol.methods:
            assert f"<td>{figures.map_all:.3f}</td><td>{figures.map_at_k[20]:.3f}</td>" in page


def test_more_bits_than_features_leaves_out_pca_and_itq(config, store):
    network = HashNetwork(NetworkSpec(node="layer1", num_bits=72), InputSpec(size=16)).eval()
    manifest, files = pack_bundle(network, "long", ("a", "b"), "run", {})
    uri = f"s3://archive/evaluation/bundles/{manifest.model_id}"
    write_bundle(uri, files, store)
    report = run_evaluate(config.model_copy(update={"bundle": uri, "output": "s3://archive/evaluation/long"}))
    methods = [figures.method for figures in report.protocols[0].methods]
    assert methods == ["this bundle", "cosine, float features", "sign of all features"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bundle": "s3://archive/nothing"}, BundleError, "no bundle at"),
        ({"manifest": "s3://archive/none.parquet"}, StorageError, "doesn't exist"),
        ({"output": "s3://no-such-bucket/x"}, StorageError, "no such bucket"),
    ],
)
def test_the_users_mistakes_are_told(config, change, error, message):
    with pytest.raises(error, match=message):
        run_evaluate(config.model_copy(update=change))


def test_splits_with_nothing_to_find(config, store, rows):
    uri = "s3://archive/evaluation/bad.parquet"
    only_test = write_manifest(store, uri, [row | {"split": "test"} for row in rows])
    with pytest.raises(ConfigError, match="no class has chips both in the split test and in train"):
        run_evaluate(config.model_copy(update={"manifest": only_test}))
    first = {row["label"]: row for row in rows}
    single = [row | {"split": "test" if row is first[row["label"]] else "train"} for row in rows]
    write_manifest(store, uri, single)
    with pytest.raises(ConfigError, match="no class has two chips in the split test"):
        run_evaluate(config.model_copy(update={"manifest": uri}))
