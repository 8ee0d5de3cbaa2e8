"""One evaluation of an untrained network, on a real bucket and a real Ray."""

import base64
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict
from html import unescape
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from model.bundle import pack_bundle
from model.codes import hamming_distances
from model.metrics import code_health
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.config import FeatureConfig, TrackingConfig
from pipelines.errors import BundleError, ConfigError, StorageError
from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import EvaluateReport
from pipelines.evaluate.run import run_evaluate, summarise
from pipelines.imagery.pixels import PixelSpec, read_window
from pipelines.imagery.raster import open_raster
from pipelines.labels.dataset import SplitConfig, read_labels
from pipelines.registry.bundles import read_bundle, write_bundle
from pipelines.sources.config import ArchiveConfig

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
def mlflow(tmp_path_factory):
    """A tracking store with an experiment that keeps its files beside it."""
    folder = tmp_path_factory.mktemp("mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    client.create_experiment("scenehash", artifact_location=folder.as_uri())
    return client


@pytest.fixture(scope="module")
def training_run(mlflow):
    experiment = mlflow.get_experiment_by_name("scenehash")
    run_id = mlflow.create_run(experiment.experiment_id, run_name="training").info.run_id
    mlflow.set_terminated(run_id)
    return run_id


def make_bundle(store, kind_bits, class_names, run_id, look_bits=0):
    """Write an untrained bundle. Its look bits, if it has some, are all on, whatever the chip."""
    torch.manual_seed(0)
    spec = NetworkSpec(
        backbone="resnet18", node="layer1", kind_bits=kind_bits, look_bits=look_bits, kind_weight=3
    )
    network = HashNetwork(spec, InputSpec(size=16)).eval()
    if look_bits:
        network.look.projection_DK.abs_()  # the features aren't below 0
    manifest, files = pack_bundle(network, "tiny", class_names, run_id, {})
    uri = f"s3://archive/evaluation/bundles/{manifest.model_id}"
    write_bundle(uri, files, store)
    return uri


@pytest.fixture(scope="module")
def config(store, rows, mlflow, training_run):
    root = "s3://archive/evaluation"
    return EvaluateConfig(
        bundle=make_bundle(store, 16, ("checks", "flat"), training_run),
        source=write_manifest(store, f"{root}/splits.parquet", rows),
        output=f"{root}/output",
        features=FeatureConfig(batch_size=20, actors=1),
        store=store.config,
        tracking=TrackingConfig(uri=mlflow.tracking_uri),
    )


@pytest.fixture(scope="module")
def report(config, ray_local):
    return run_evaluate(config)


@pytest.fixture(scope="module")
def encoded(config, store):
    """The slow reference: codes_NY and class_N of each split, one chip after the other."""
    _, network = read_bundle(config.bundle, store)
    splits = {"train": ([], []), "validation": ([], []), "test": ([], [])}
    labels = read_labels(config.source, store)
    images = {uri: store.read(uri) for uri in labels.chips["uri"].unique().to_pylist()}
    for row in labels.chips.to_pylist():
        with open_raster(images[row["uri"]]) as dataset:
            chip_HWC = read_window(dataset, tuple(row["window"].values()), PixelSpec((1, 2, 3))).pixels_HWC
        codes, classes = splits[row["split"]]
        codes.append(network.encode_features(network.extract([chip_HWC]))[0])
        classes.append(labels.class_names.index(row["labels"][0]))
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
    assert (report.multi_label, report.unreadable, report.split) == (False, [], SplitConfig())
    names = ["this bundle", "cosine, float features", "sign of all features", "PCA + sign", "ITQ"]
    stripes = 32  # chips of the two scenes of stripes in test
    sizes = zip(report.protocols, (80, 80, stripes), (80, 96, stripes), strict=True)
    for protocol, queries, database in sizes:
        assert (protocol.queries, protocol.unanswerable, protocol.database) == (queries, 0, database)
        assert [figures.method for figures in protocol.methods] == names
        assert [figures.bits for figures in protocol.methods] == [16, None, 64, 16, 16]


def test_the_bundles_figures_against_the_slow_reference(report, encoded):
    test_codes, test_classes = encoded["test"]
    for protocol, database in zip(report.protocols, ("test", "train"), strict=False):
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
            unseen = protocol.name == "unseen classes, leave one out"
            assert set(figures.map_of_class) == ({"stripes"} if unseen else {"checks", "flat", "stripes"})


def test_what_is_written(report, config, store):
    saved = EvaluateReport.model_validate_json(store.read(f"{config.output}/evaluation.json"))
    assert saved == report
    assert report.page == f"{config.output}/evaluation.html"
    assert "NaN" not in json.dumps(saved.model_dump())


def test_the_page_is_whole_and_fetches_nothing(report, store):
    page = store.read(report.page).decode()
    assert not re.search(r"https?:|src=(?!\"data:)|href=|url\(|@import|<script", page)
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 3 * 6
    for drawing in drawings:
        ET.fromstring(drawing)
        assert "nan" not in drawing
    for protocol in report.protocols:
        for figures in protocol.methods:
            assert f"<td>{figures.map_all:.3f}</td><td>{figures.map_at_k[20]:.3f}</td>" in page


def test_contact_sheets_show_the_chips_themselves(report, encoded, store, config):
    codes_NY, classes_N = encoded["test"]
    names, chips = ("checks", "flat", "stripes"), read_labels(config.source, store).rows("test").to_pylist()
    page = store.read(report.page).decode()
    pictures = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page)
    shown = [chip for example in [*report.best, *report.worst] for chip in (example.query, *example.nearest)]
    assert len(shown) == 12 * 9, "two queries of each of three classes, twice"
    (changed,) = report.changed
    for query in changed.queries:
        shown += [query.query, *(chip for ordered in query.lists for chip in ordered.nearest)]
    assert len(pictures) == len(shown) == 12 * 9 + 3 * (1 + 2 * 10)
    for example in [*report.best, *report.worst]:
        query = [chip["row"] for chip in chips].index(example.query.row)
        distances_N = hamming_distances(codes_NY[query : query + 1], codes_NY)[0].astype(int)
        others = sorted((d, row) for row, d in enumerate(distances_N) if row != query)[:8]
        assert [chip.row for chip in example.nearest] == [chips[row]["row"] for _, row in others]
        for chip, (distance, row) in zip(example.nearest, others, strict=True):
            assert (chip.distance, chip.labels) == (distance, [names[classes_N[row]]])
            assert chip.right == (classes_N[row] == classes_N[query])
    images = {chip.uri: store.read(chip.uri) for chip in shown}
    for chip, picture in zip(shown, pictures, strict=True):
        with open_raster(images[chip.uri]) as dataset:
            chip_HWC = read_window(dataset, chip.window, PixelSpec((1, 2, 3))).pixels_HWC
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            small_HWC = np.asarray(image.resize((16, 16), Image.Resampling.BOX), float)
        assert np.abs(small_HWC - chip_HWC).mean() < 20, "the chip of its row, not another"


def test_figures_and_files_are_in_a_run_below_that_of_the_training(
    report, mlflow, training_run, store, config
):
    run = mlflow.get_run(report.run_id)
    assert run.data.tags["mlflow.parentRunId"] == training_run
    assert run.data.params["source"] == config.source
    assert not mlflow.get_run(training_run).data.metrics, "another evaluation would overwrite them"
    metrics = run.data.metrics
    first, second, third = (protocol.methods[0] for protocol in report.protocols)
    assert metrics["test_map_all"] == first.map_all
    assert metrics["test_map_at_20"] == first.map_at_k[20]
    assert metrics["test_db_train_map_all"] == second.map_all
    assert metrics["test_unseen_map_all"] == third.map_all
    assert metrics["test_distinct_ratio"] == report.health["test"]["distinct_ratio"]
    assert metrics["test_in_class_recall10"] == report.knows[0].in_class_recall10
    assert metrics["test_unseen_map20"] == report.knows[0].unseen_map20 == third.map_at_k[20]
    assert metrics["test_cosine_map_all"] == report.protocols[0].methods[1].map_all
    for name in ("evaluation.json", "evaluation.html"):
        local = Path(mlflow.download_artifacts(report.run_id, f"evaluation/{name}"))
        assert local.read_bytes() == store.read(f"{config.output}/{name}")


def test_the_short_of_it_is_what_mlflow_got(report, mlflow):
    summary = summarise(report)
    logged = mlflow.get_run(report.run_id).data.metrics
    assert summary.metrics["test_map_at_20"] == report.protocols[0].methods[0].map_at_k[20]
    assert summary.metrics.items() <= logged.items()
    assert len(summary.model_dump_json()) < 4000


def test_turned_chips_are_the_chips_of_the_test_turned(report, encoded, config, store):
    """The slow reference: one chip after the other, turned by 90 degrees, among all as they are."""
    _, network = read_bundle(config.bundle, store)
    codes_NY = encoded["test"][0]
    chips = read_labels(config.source, store).rows("test").to_pylist()
    first = []
    for number, chip in enumerate(chips):
        with open_raster(store.read(chip["uri"])) as dataset:
            chip_HWC = read_window(dataset, tuple(chip["window"].values()), PixelSpec((1, 2, 3))).pixels_HWC
        code_1Y = network.encode_features(network.extract([np.rot90(chip_HWC).copy()]))
        distances_N = hamming_distances(code_1Y, codes_NY)[0]
        nearer, tied = (distances_N < distances_N[number]).sum(), (distances_N == distances_N[number]).sum()
        first.append(np.clip((10 - nearer) / tied, 0, 1))
    assert report.knows[0].turned_first10 == pytest.approx(np.mean(first), abs=0.02)


def test_the_page_says_what_was_not_trained_on(report, store):
    page = store.read(report.page).decode()
    assert "Unseen classes, on which the bundle wasn't trained: stripes." in page
    assert "16 kind bits; 96 train, 16 validation, 80 test chips of 3 classes" in page
    for knows in report.knows:
        assert f"<td>{knows.trained_map20:.3f}</td><td>{knows.unseen_map20:.3f}</td>" in page
        assert knows.kept_recall10 is None, "of 79 others the first hundred are all"
        assert knows.place10 is None


@pytest.fixture(scope="module")
def in_parts(config, store, geotiff):
    """A bundle of two parts, of more bits than there are features, trained on all classes; its training run
    isn't in this store. Beside it a place at two dates, and <script> in its source's name."""
    pixels_HWC = np.random.default_rng(0).integers(1, 255, (32, 48, 3), np.uint8)
    for day in ("a", "b"):
        content = geotiff(pixels_HWC).replace(b"2024:06:01 10:00:00", b" " * 19)
        store.write(f"s3://archive/evaluation/<places>/{day}.tif", content)
    places = ArchiveConfig(source="s3://archive/evaluation/<places>", chip_size=16)
    uri = make_bundle(store, 32, ("checks", "flat", "stripes"), "elsewhere", look_bits=40)
    change = {"bundle": uri, "output": "s3://archive/evaluation/long", "places": places}
    return run_evaluate(config.model_copy(update=change))


def test_a_bundle_of_two_parts(in_parts, mlflow):
    assert (in_parts.bits, in_parts.parts) == (72, {"kind": 32, "look": 40})
    assert in_parts.weights == {"kind": 3, "look": 1}
    assert len(in_parts.protocols) == 2, "no class is unseen"
    methods = [figures.method for figures in in_parts.protocols[0].methods]
    own = ["this bundle", "this bundle, kind alone", "this bundle, look alone"]
    assert methods == [*own, "cosine, float features", "sign of all features"], "no PCA, no ITQ"
    assert [knows.method for knows in in_parts.knows] == methods
    both, kind, look, *_ = in_parts.knows
    assert (both.unseen_map20, look.tied10, look.distinct) == (None, 79, 1 / 80), "look is always the same"
    assert both.in_class_recall10 == pytest.approx(kind.in_class_recall10), "so that kind alone decides"
    assert both.place10 == kind.place10 == 1, "equal pixels"
    assert look.place10 < 1, "11 others tied, one of them right: 10 of 11"
    run = mlflow.get_run(in_parts.run_id)
    assert (run.info.run_name, run.info.status) == (f"evaluate {in_parts.model_id}", "FINISHED")
    metrics = run.data.metrics
    assert metrics["test_map_all"] == in_parts.protocols[0].methods[0].map_all
    assert metrics["test_kind_in_class_recall10"] == kind.in_class_recall10
    assert metrics["test_look_distinct"] == metrics["test_look_distinct_ratio"] == 1 / 80
    assert metrics["test_place10"] == 1


def test_a_part_that_has_collapsed_is_named(in_parts, store):
    page = store.read(in_parts.page).decode()
    of_look = [line for line in in_parts.collapsed if "look" in line]
    assert [line.split(" is ")[0] for line in of_look] == ["look_stuck_bits", "look_bit_entropy"]
    assert all(f"<li>{line}</li>" in unescape(page) for line in in_parts.collapsed)
    assert "the look bits have collapsed" in page
    assert "<td>test</td><td>look</td><td>0.013</td><td>1.000</td><td>1.000</td><td>0.000</td>" in page


def test_the_page_of_two_parts(in_parts, store):
    page = store.read(in_parts.page).decode()
    assert "32 kind bits, 40 look bits, each kind bit counting 3 times and each look bit once" in page
    assert "The bundle was trained on every class here" in page
    assert "s3://archive/evaluation/&lt;places&gt;" in page
    assert "<places>" not in page
    pairs = [(changed.first, changed.second) for changed in in_parts.changed]
    assert pairs == [
        ("this bundle", "cosine, float features"),
        ("this bundle, kind alone", "this bundle, look alone"),
    ]
    for changed in in_parts.changed:
        for query in changed.queries:
            assert [ordered.method for ordered in query.lists] == [
                "this bundle",
                "this bundle, kind alone",
                "this bundle, look alone",
                "cosine, float features",
            ]
            assert all(len(ordered.nearest) == 10 for ordered in query.lists)
    assert page.count("<p>this bundle, look alone</p>") == 6


def test_several_labels_and_an_unreadable_scene(config, store, rows, mlflow):
    """Chips of two classes at most; splits by the evaluation's config; one scene is no image."""
    root, runs = "s3://archive/evaluation", len(mlflow.search_runs(["1"]))
    lines = ["uri,x,y,w,h,labels"]
    for number, row in enumerate(rows):
        labels = [row["label"], "corner"] if number % 16 == 0 and row["label"] != "flat" else [row["label"]]
        lines.append(f"{row['uri']},{','.join(map(str, row['window'].values()))},{';'.join(labels)}")
    store.write(f"{root}/torn.tif", b"not an image")
    lines.append(f"{root}/torn.tif,0,0,16,16,flat")
    store.write(f"{root}/several.csv", "\n".join(lines).encode())
    split = SplitConfig(train_share=0.5, validation_share=0, unseen_classes=("stripes",))
    features = FeatureConfig(actors=1, max_unreadable_share=0.1, cache=f"{config.output}/features")
    change = {"source": f"{root}/several.csv", "output": f"{root}/several", "track": False}
    report = run_evaluate(config.model_copy(update=change | {"split": split, "features": features}))
    assert (report.multi_label, report.split, report.run_id) == (True, split, None)
    assert [chip.uri for chip in report.unreadable] == [f"{root}/torn.tif"]
    assert report.unreadable[0].reason in unescape(store.read(report.page).decode())
    assert sum(report.chips.values()) == 192
    assert report.unseen_classes == ["corner", "stripes"], "what the bundle wasn't trained on"
    third = report.protocols[2]
    assert set(third.methods[0].map_of_class) == {"corner", "stripes"}
    assert third.database >= 64, "all stripes are in test"
    assert len(mlflow.search_runs(["1"])) == runs, "not tracked"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bundle": "s3://archive/nothing"}, BundleError, "no bundle at"),
        ({"source": "s3://archive/none.parquet"}, StorageError, "none.parquet"),
        ({"output": "s3://no-such-bucket/x"}, StorageError, "no such bucket"),
    ],
)
def test_the_users_mistakes_are_told(config, change, error, message):
    with pytest.raises(error, match=message):
        run_evaluate(config.model_copy(update=change))


def test_a_source_with_nothing_to_find(config, store, rows):
    uri = "s3://archive/evaluation/bad.parquet"
    apart = [row | {"split": "test" if row["label"] == "stripes" else "train"} for row in rows]
    write_manifest(store, uri, apart)
    with pytest.raises(ConfigError, match="no class has chips both in the split test and in train"):
        run_evaluate(config.model_copy(update={"source": uri}))
