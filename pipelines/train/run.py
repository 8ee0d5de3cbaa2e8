"""A training: from labelled scenes, or an archive without labels, to a registered bundle."""

import time
from dataclasses import asdict, replace
from typing import Any

import structlog

from model.bundle import pack_bundle
from model.look import LookHead
from model.network import HashNetwork
from model.recipe import Recipe
from pipelines.errors import ConfigError, TrackingError
from pipelines.labels.chip_pixels import READ_CPUS
from pipelines.labels.dataset import Labels, read_labels
from pipelines.registry import tracking
from pipelines.registry.bundles import write_bundle
from pipelines.runtime.cluster import connected, warn_if_short
from pipelines.storage.store import Store
from pipelines.train.config import ARCHIVE_ONLY, TrainConfig
from pipelines.train.fit import Phase, fit
from pipelines.train.inputs import FeatureRows
from pipelines.train.loop import TrainJob
from pipelines.train.prepare import (
    LabelledSplits,
    build_network,
    feature_splits,
    image_splits,
    trained_classes,
)
from pipelines.train.promote import VALIDATION_TAG, promote, validation_tag
from pipelines.train.report import TrainReport
from pipelines.train.unlabelled import list_scenes, sample_features
from pipelines.train.validation import SCORE, validate

log = structlog.get_logger()


def run_train(config: TrainConfig) -> TrainReport:
    """Train, write the bundle, register it. Needs a running Ray, or starts one on this machine.

    Raises ConfigError if the source or the network doesn't fit, StorageError if something can't be read or
    written, TrainingError if the training fails; TrackingError if MLflow doesn't answer at the start or at
    the end. In the last case the bundle is written, and the error holds the report.
    """
    config = config.model_copy(update={"tracking": tracking.resolved(config.tracking)})
    store = Store(config.store)
    store.require_bucket(config.bundles)
    run = run_labelled if config.labelled else run_unlabelled
    return run(config, store, time.monotonic())


def run_labelled(config: TrainConfig, store: Store, started: float) -> TrainReport:
    """Train on labelled scenes: the kind bits, and the look bits if the code has any."""
    labels = read_labels(config.source, store, config.split)
    network = build_network(config, store)
    report = TrainReport(
        chips=labels.count("train"),
        validation_chips=labels.count("validation"),
        classes=len(trained_classes(labels)),
        seconds=round(time.monotonic() - started, 1),
    )
    if config.dry_run:
        return report
    tags = {VALIDATION_TAG: validation_tag(labels)}
    with (
        connected(),
        tracking.tracked_run(config.tracking, config.name, _params(config, network), tags) as run_id,
    ):
        warn_if_short(max(READ_CPUS, 0 if config.use_gpu else config.workers))
        splits = _train(config, labels, network, store, run_id)
        done = _register(config, labels, network, validate(network, splits.validation), store, run_id)
    unreadable = {chip.uri: chip.reason for chip in splits.unreadable}
    seconds = round(time.monotonic() - started, 1)
    report = report.model_copy(update=done | {"unreadable": unreadable, "seconds": seconds})
    return _with_tracking(report)


def _with_tracking(report: TrainReport) -> TrainReport:
    """Return the report. Raises TrackingError, which holds the report, if MLflow lacks some of it."""
    if report.tracking_failed:
        missing = "its alias wasn't decided" if report.version else "it isn't registered"
        raise TrackingError(
            f"the bundle is at {report.bundle}, but {missing}: {report.tracking_failed}; use it by its URI, "
            "or train again once MLflow is there",
            report,
        )
    return report


def run_unlabelled(config: TrainConfig, store: Store, started: float) -> TrainReport:
    """Fit look bits alone, on windows of an archive without labels."""
    network = build_network(config, store)
    report = TrainReport(chips=0, validation_chips=0, classes=0, seconds=0)
    if config.dry_run:
        scenes = list_scenes(config, store)[1]
        return report.model_copy(update={"scenes": scenes, "seconds": round(time.monotonic() - started, 1)})
    with connected(), tracking.tracked_run(config.tracking, config.name, _params(config, network)) as run_id:
        warn_if_short(READ_CPUS)
        sample = sample_features(config, network, store, _cache(config))
        _fit_look(network, sample.rows, config.seed)
        done = _register(config, None, network, sample.health(network), store, run_id)
    fields = {"chips": sample.windows, "scenes": sample.scenes, "unreadable": sample.unreadable}
    seconds = round(time.monotonic() - started, 1)
    return _with_tracking(report.model_copy(update=done | fields | {"seconds": seconds}))


def _train(
    config: TrainConfig, labels: Labels, network: HashNetwork, store: Store, run_id: str
) -> LabelledSplits:
    """Train what the recipe says, then fit the look bits; return the splits that were used last."""
    splits: LabelledSplits | None = None
    for name, phase_config in _phases(config).items():
        if phase_config.recipe.frozen:
            splits = feature_splits(config, labels, network, store, _cache(config))
        else:
            splits = image_splits(config, labels, network, store)
        job = _job(phase_config, splits, network)
        weights = fit(Phase(name, job, config.tracking, run_id), config, store)
        (network.head if phase_config.recipe.frozen else network).load_state_dict(weights)
    assert splits is not None  # noqa: S101 - there is one training at least
    if config.network.look_bits and not config.look_from:
        if not isinstance(splits.train.rows, FeatureRows):
            splits = feature_splits(config, labels, network, store, _cache(config))
        assert isinstance(splits.train.rows, FeatureRows)  # noqa: S101 - for mypy: what feature_splits gives
        _fit_look(network, splits.train.rows, config.seed)
    return splits


def _fit_look(network: HashNetwork, rows: FeatureRows, seed: int) -> None:
    assert isinstance(network.look, LookHead)  # noqa: S101 - for mypy: the spec has look bits
    try:
        network.look.fit(rows.features_NVD, seed)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    log.info("look bits fitted", chips=len(rows.features_NVD), views=rows.features_NVD.shape[1])


def _register(
    config: TrainConfig,
    labels: Labels | None,
    network: HashNetwork,
    metrics: dict[str, float],
    store: Store,
    run_id: str,
) -> dict[str, Any]:
    """Write the bundle, register it, and move the alias if it is better; return fields of the report.

    If MLflow fails, the bundle is written all the same, and ``tracking_failed`` says why it isn't registered.
    """
    class_names = trained_classes(labels) if labels else ()
    manifest, files = pack_bundle(network, config.name, class_names, run_id, metrics)
    bundle_uri = f"{config.bundles.rstrip('/')}/{manifest.model_id}"
    write_bundle(bundle_uri, files, store)
    done: dict[str, Any] = {
        "run_id": run_id,
        "model_id": manifest.model_id,
        "bundle": bundle_uri,
        "metrics": metrics,
    }
    try:
        tracking.log_metrics(config.tracking, run_id, metrics)
        done["version"] = tracking.register(config.tracking, config.name, bundle_uri, run_id)
        score = metrics.get(SCORE)
        done["promoted"] = promote(config, labels, store, _cache(config), done["version"], score)
    except TrackingError as error:
        done["tracking_failed"] = str(error)
    return done


def _cache(config: TrainConfig) -> str:
    return config.features.cache or f"{config.bundles.rstrip('/')}/features"


def _phases(config: TrainConfig) -> dict[str, TrainConfig]:
    """Return the trainings of a run by name: the recipe, or the head alone, the recipe and the head again."""
    recipe = config.recipe
    if recipe.frozen or not recipe.head_epochs:
        return {"": config}
    alone = replace(recipe, epochs=recipe.head_epochs, backbone_learning_rate=0, patience=0)
    head = config.model_copy(update={"recipe": alone})
    return {"head_before": head, "": config, "head_after": head}


def _job(config: TrainConfig, splits: LabelledSplits, network: HashNetwork) -> TrainJob:
    return TrainJob(
        network=network.network_spec,
        input=network.input_spec,
        initial=network.state_dict(),
        keep_statistics=config.weights != "none",
        recipe=fitting(config.recipe, len(splits.train.labels_NC), max(1, config.workers)),
        augment=config.augment,
        loss=config.loss,
        seed=config.seed,
        train=splits.train,
        validation=splits.validation,
    )


def fitting(recipe: Recipe, chips: int, workers: int) -> Recipe:
    """Return the recipe with a batch size that ``chips`` chips can fill and ``workers`` divides.

    Raises ConfigError if there isn't a chip for each worker, or only one chip.
    """
    if chips >= recipe.batch_size:
        return recipe
    batch = chips // workers * workers
    if batch < 2:
        raise ConfigError(f"{chips} training chips are too few for {workers} workers")
    log.warning(
        "batches are smaller: there are few chips", chips=chips, batch_size=batch, of=recipe.batch_size
    )
    return replace(recipe, batch_size=batch)


def _params(config: TrainConfig, network: HashNetwork) -> dict[str, object]:
    """Return the config for MLflow, without what this training doesn't use; names are joined by dots."""
    unused = {"orthohash", "pairwise", "triplet"} - ({config.objective} if config.labelled else set())
    unused |= set(ARCHIVE_ONLY) if config.labelled else {"recipe", "objective", "split"}
    kept = config.model_dump(exclude={"store", "tracking", "dry_run", *unused})
    kept |= {"input": asdict(network.input_spec), "network": asdict(network.network_spec)}
    flat: dict[str, object] = {}
    for key, value in kept.items():
        inner = value if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else {f"{key}.{name}": inner[name] for name in inner}
    return flat
