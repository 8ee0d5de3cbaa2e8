"""The evaluation: labelled scenes and a bundle in, figures and a page out.

Shapes: N chips, F features, C classes, Q queries, K bits.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from model.bundle import Manifest
from model.codes import unpack
from model.metrics import code_health
from model.network import HashNetwork
from model.retrieval import Labels as ClassLabels
from model.spec import CodeSpec
from pipelines.errors import TrackingError
from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import (
    BUNDLE,
    COSINE,
    LEAVE_ONE_OUT,
    TEST_ASKS_TRAIN,
    UNSEEN,
    ChangedOrders,
    EvaluateReport,
    EvaluateSummary,
    Example,
    UnreadableChip,
)
from pipelines.evaluate.measure import check_splits, measure
from pipelines.evaluate.methods import EncodedChips, Method, bundle_methods, make_methods
from pipelines.evaluate.overview import Turned, measure_overviews
from pipelines.evaluate.page import render
from pipelines.evaluate.places import read_places
from pipelines.evaluate.sheets import (
    choose_queries,
    find_changed,
    make_examples,
    read_thumbnails,
    shown_chips,
)
from pipelines.gate.checks import failed_checks
from pipelines.gate.config import GateConfig
from pipelines.gate.measured import health_figures, prefixes
from pipelines.imagery.pixels import PixelSpec
from pipelines.labels.dataset import SPLITS, Labels, multi_hot, read_labels
from pipelines.labels.features import Features, compute_views
from pipelines.registry.bundles import read_bundle, resolve_bundle
from pipelines.registry.tracking import PARENT_RUN, find_run, log_files, log_metrics, tracked_run
from pipelines.runtime.cluster import connected
from pipelines.storage.store import Store

_PREFIXES = {LEAVE_ONE_OUT: "test", TEST_ASKS_TRAIN: "test_db_train", UNSEEN: "test_unseen"}  # of metrics


def run_evaluate(config: EvaluateConfig) -> EvaluateReport:
    """Measure, write evaluation.json and evaluation.html, and log them. Needs a running Ray, or starts one.

    Raises ConfigError if the source lacks test or train chips to measure on, or too many of them can't be
    read; BundleError or StorageError if the bundle or the source can't be read; TrackingError if MLflow
    doesn't answer at the start or at the end. In the last case the figures are written, and the error holds
    the summary.
    """
    started = time.monotonic()
    store = Store(config.store)
    store.require_bucket(config.output)
    labels = read_labels(config.source, store, config.split)
    _check_splits(labels.chips, labels.class_names, config.source)  # before hours of reading
    bundle_uri = resolve_bundle(config.bundle, config.tracking)
    manifest, network = read_bundle(bundle_uri, store)
    with _run_of(config, manifest) as run_id, connected():
        report = _evaluate(config, labels, manifest, network, store).model_copy(
            update={
                "bundle": bundle_uri,
                "run_id": run_id,
                "seconds": round(time.monotonic() - started, 1),
            }
        )
        shown = shown_chips([*report.best, *report.worst], report.changed)
        thumbnails = read_thumbnails(shown, labels.chips, PixelSpec.of(network.input_spec), store)
        _publish(report, thumbnails, config, store)
    return report


def _evaluate(
    config: EvaluateConfig, labels: Labels, manifest: Manifest, network: HashNetwork, store: Store
) -> EvaluateReport:
    """Compute features, measure and choose examples; return the report, without run id and time."""
    output, class_names = config.output.rstrip("/"), labels.class_names
    cache = config.features.cache or f"{output}/features"
    _check_splits(labels.chips, class_names, config.source)
    to_turn = labels.chips.filter(pc.equal(labels.chips["split"], "test"))
    asked = {0: labels.chips, 1: to_turn}
    features, turned_features = compute_views(asked, network, store, config.features, cache).values()
    chips = labels.chips.take(features.rows_N)
    _check_splits(chips, class_names, config.source)
    splits = encode_splits(chips, features.features_ND, class_names, network)
    test, code = splits["test"], manifest.network.code
    placed = read_places(config.places, network, store) if config.places else None
    unseen = sorted(set(class_names) - set(manifest.class_names))
    trained = [number for number, name in enumerate(class_names) if name not in unseen] if unseen else None
    methods = make_methods(splits["train"].features_NF, code, config.seed)
    measured = measure(methods, test, splits["train"], class_names, unseen)
    in_test = chips.filter(pc.equal(chips["split"], "test"))
    turned = _turned(test, turned_features, in_test["row"].to_numpy(), network)
    best, worst = _examples(test, methods[0], measured.average_precision_Q, in_test)
    return EvaluateReport(
        model_id=manifest.model_id,
        bundle=config.bundle,
        source=config.source,
        split=config.split,
        chips={split: len(encoded.codes_NY) for split, encoded in splits.items()},
        unreadable=[UnreadableChip(uri=chip.uri, reason=chip.reason) for chip in features.unreadable],
        classes=len(class_names),
        multi_label=test.labels_N.ndim == 2,
        unseen_classes=unseen,
        bits=code.bits,
        parts={part.name: part.bits for part in code.parts},
        weights={part.name: part.weight for part in code.parts},
        features=features.features_ND.shape[1],
        seed=config.seed,
        protocols=measured.protocols,
        knows=measure_overviews(methods, measured.protocols, test, turned, placed, trained),
        places=config.places.source if config.places else None,
        changed=_changed(methods, code, test, in_test),
        best=best,
        worst=worst,
        health={split: _health(encoded, code) for split, encoded in splits.items()},
        collapsed=_collapsed(test, code),
        page=f"{output}/evaluation.html",
    )


def _turned(
    test: EncodedChips, features: Features, rows_N: NDArray[np.int64], network: HashNetwork
) -> Turned:
    """Return the test chips turned by 90 degrees; ``rows_N`` are the test chips' rows in the labels."""
    rows_Q = np.flatnonzero(np.isin(rows_N, features.rows_N))
    turned_QF = features.features_ND
    return Turned(EncodedChips(turned_QF, network.encode_features(turned_QF), test.labels_N[rows_Q]), rows_Q)


def _health(chips: EncodedChips, code: CodeSpec) -> dict[str, float]:
    """Return the health of each part of the codes, under the names that the gate uses."""
    return {
        f"{prefix}{name}": value
        for prefix, place in prefixes(code).items()
        for name, value in asdict(code_health(chips.codes_NY[:, place])).items()
    }


def _collapsed(chips: EncodedChips, code: CodeSpec) -> list[str]:
    """Return the gate's checks that these codes fail, however few they are."""
    figures = health_figures(unpack(chips.codes_NY).mean(axis=0), chips.codes_NY, code)
    counts = {"chips": float(len(chips.codes_NY)), "objects": 1.0}
    return list(failed_checks(figures | counts, GateConfig(min_objects=1, min_chips=1)))


def _changed(
    methods: Sequence[Method], code: CodeSpec, test: EncodedChips, chips: pa.Table
) -> list[ChangedOrders]:
    """Return the queries whose order changed most: between codes and features, and between the parts."""
    own = [method.name for method in bundle_methods(code)]
    lists = {method.name: method.lists(test, test) for method in methods if method.name in (*own, COSINE)}
    pairs = [(BUNDLE, COSINE), *([(own[1], own[2])] if len(own) == 3 else [])]
    found = (find_changed(pair, lists, test.labels_N, chips) for pair in pairs)
    return [orders for orders in found if orders]


def class_labels(chips: pa.Table, class_names: tuple[str, ...]) -> ClassLabels:
    """Return class ids if every chip has one label, else multi-hot labels_NC."""
    if pc.all(pc.equal(pc.list_value_length(chips["labels"]), 1)).as_py():
        class_ids = pc.index_in(pc.list_flatten(chips["labels"]), pa.array(class_names, pa.string()))
        return np.asarray(class_ids.to_numpy(), np.int64)
    return multi_hot(chips, class_names)


def _check_splits(chips: pa.Table, class_names: tuple[str, ...], source: str) -> None:
    labels_N = class_labels(chips, class_names)
    split_N = chips["split"].to_numpy()
    check_splits(labels_N[split_N == "test"], labels_N[split_N == "train"], len(class_names), source)


def encode_splits(
    chips: pa.Table, features_NF: NDArray[np.float32], class_names: tuple[str, ...], network: HashNetwork
) -> dict[str, EncodedChips]:
    """Return the chips of each split that isn't empty, with their codes; ``chips`` has N rows too."""
    every = EncodedChips(features_NF, network.encode_features(features_NF), class_labels(chips, class_names))
    split_N = chips["split"].to_numpy()
    return {split: every.select(split_N == split) for split in SPLITS if (split_N == split).any()}


def _examples(
    test: EncodedChips, bundle: Method, average_precision_Q: NDArray[np.float64], chips: pa.Table
) -> tuple[list[Example], list[Example]]:
    """Return the best and the worst queries; ``chips`` are the test chips."""
    lists = bundle.lists(test, test)
    best, worst = (
        make_examples(
            choose_queries(average_precision_Q, test.labels_N, best=best),
            average_precision_Q,
            lists,
            test.labels_N,
            chips,
        )
        for best in (True, False)
    )
    return best, worst


@contextmanager
def _run_of(config: EvaluateConfig, manifest: Manifest) -> Iterator[str | None]:
    """Yield a new MLflow run, below that of the training if it still exists; None without tracking.

    Each evaluation has a run of its own, so that none overwrites the figures of another.
    """
    if not config.track:
        yield None
        return
    training = find_run(config.tracking, manifest.training_run_id)
    is_there = training is not None and training.info.lifecycle_stage == "active"
    tags = {PARENT_RUN: manifest.training_run_id} if is_there else {}
    params: dict[str, object] = {
        "model_id": manifest.model_id,
        "source": config.source,
        "split": config.split.model_dump_json(),
    }
    with tracked_run(config.tracking, f"evaluate {manifest.model_id}", params, tags) as run_id:
        yield run_id


def _publish(
    report: EvaluateReport, thumbnails: Mapping[int, str], config: EvaluateConfig, store: Store
) -> None:
    files = {
        "evaluation.json": (report.model_dump_json(indent=2) + "\n").encode(),
        "evaluation.html": render(report, thumbnails).encode(),
    }
    for name, content in files.items():
        store.write(f"{config.output.rstrip('/')}/{name}", content)
    if report.run_id:
        try:
            log_files(config.tracking, report.run_id, "evaluation", files)
            log_metrics(config.tracking, report.run_id, metrics_of(report))
        except TrackingError as error:
            message = f"the figures are in {config.output}, but {error}; evaluate again once it is there"
            raise TrackingError(message, summarise(report)) from error


def metrics_of(report: EvaluateReport) -> dict[str, float]:
    """Return the figures for MLflow: the bundle's, those of its parts, cosine's mAP, the codes' health."""
    metrics = {f"test_{name}": value for name, value in report.health["test"].items()}
    for protocol in report.protocols:
        prefix, own = _PREFIXES[protocol.name], protocol.methods[0]
        metrics[f"{prefix}_map_all"] = own.map_all
        metrics[f"{prefix}_map_at_20"] = own.map_at_k[20]
        metrics[f"{prefix}_precision_at_10"] = own.precision_at_k[10]
        metrics[f"{prefix}_recall_at_100"] = own.recall_at_k[100]
        metrics[f"{prefix}_precision_within_2"] = own.precision_within_2 or 0.0
        metrics |= {
            f"{prefix}_cosine_map_all": figures.map_all
            for figures in protocol.methods
            if figures.method == COSINE
        }
    for row in report.knows:
        if row.method.startswith(BUNDLE):
            prefix = "test" if row.compare == "both" else f"test_{row.compare}"
            figures = row.model_dump(exclude={"method", "bits", "compare"}, exclude_none=True)
            metrics |= {f"{prefix}_{name}": value for name, value in figures.items()}
    return metrics


def summarise(report: EvaluateReport) -> EvaluateSummary:
    """Return the short form of a report."""
    return EvaluateSummary(
        model_id=report.model_id,
        page=report.page,
        run_id=report.run_id,
        chips=report.chips,
        unreadable=len(report.unreadable),
        metrics=metrics_of(report),
        seconds=report.seconds,
    )
