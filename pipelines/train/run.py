"""The training run: labelled scenes in, a registered bundle out."""

import time
from dataclasses import asdict, replace

import structlog
from pydantic import BaseModel, ConfigDict

from model.bundle import pack_bundle
from model.network import HashNetwork
from pipelines import tracking
from pipelines.bundles import write_bundle
from pipelines.chips import READ_CPUS
from pipelines.cluster import connected, warn_if_short
from pipelines.errors import ConfigError, TrackingError
from pipelines.labels import Labels, read_labels
from pipelines.storage import Store
from pipelines.train.config import TrainConfig
from pipelines.train.fit import Phase, fit
from pipelines.train.loop import SCORE, TrainJob, validate
from pipelines.train.prepare import Parts, build_network, feature_parts, image_parts, trained_classes
from pipelines.train.promote import VALIDATION_TAG, promote

log = structlog.get_logger()


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
    promoted: bool = False
    """Whether the version took the alias."""
    chips: int
    """Chips to train on."""
    validation_chips: int
    classes: int
    unreadable: dict[str, str] = {}
    """Scenes that couldn't be read, and why."""
    metrics: dict[str, float] = {}
    """Of the codes of the validation chips."""
    tracking_failed: str | None = None
    """Why MLflow doesn't have all of this; the bundle stands where it is."""
    seconds: float


def run_train(config: TrainConfig) -> TrainReport:
    """Train, write the bundle, register it. Needs a running Ray, or starts one on this machine.

    Raises ConfigError where the source or the network doesn't fit, StorageError where a URI doesn't;
    TrackingError where MLflow isn't there at the start or, with the report, at the end: the bundle is written
    by then.
    """
    started = time.monotonic()
    config = config.model_copy(update={"tracking": tracking.resolved(config.tracking)})
    store = Store(config.store)
    store.require_bucket(config.bundles)
    labels = read_labels(config.source, store, config.split)
    network = build_network(config, store)
    _check_batch(config, labels.count("train"))
    report = TrainReport(
        chips=labels.count("train"),
        validation_chips=labels.count("validation"),
        classes=len(trained_classes(labels)),
        seconds=round(time.monotonic() - started, 1),
    )
    if config.dry_run:
        return report
    tags = {VALIDATION_TAG: labels.digest("validation")}
    with (
        connected(),
        tracking.tracked_run(config.tracking, config.name, _params(config, network), tags) as run_id,
    ):
        warn_if_short(max(READ_CPUS, 0 if config.use_gpu else config.workers))
        done = _train(config, labels, network, store, run_id)
    report = report.model_copy(
        update=done | {"run_id": run_id, "seconds": round(time.monotonic() - started, 1)}
    )
    if report.tracking_failed:
        missing = "its alias wasn't decided" if report.version else "it isn't registered"
        raise TrackingError(
            f"the bundle is at {report.bundle}, but {missing}: {report.tracking_failed}; use it by its URI, "
            "or train again once MLflow is there",
            report,
        )
    return report


def _train(
    config: TrainConfig, labels: Labels, network: HashNetwork, store: Store, run_id: str
) -> dict[str, object]:
    """Return the fields of the report that only a training fills."""
    cache = config.features.cache or f"{config.bundles.rstrip('/')}/features"
    unreadable: dict[str, str] = {}
    for name, phase_config in _phases(config).items():
        if phase_config.recipe.frozen:
            parts = feature_parts(config, labels, network, store, cache)
        else:
            parts = image_parts(config, labels, network, store)
        _check_batch(config, len(parts.train.labels_NC))
        unreadable |= {chip.uri: chip.reason for chip in parts.unreadable}
        job = _job(phase_config, parts, network)
        weights = fit(Phase(name, job, config.tracking, run_id), config, store)
        (network.head if phase_config.recipe.frozen else network).load_state_dict(weights)
    metrics = validate(network, parts.validation)
    manifest, files = pack_bundle(network, config.name, trained_classes(labels), run_id, metrics)
    bundle_uri = f"{config.bundles.rstrip('/')}/{manifest.model_id}"
    write_bundle(bundle_uri, files, store)
    done: dict[str, object] = {
        "model_id": manifest.model_id,
        "bundle": bundle_uri,
        "unreadable": unreadable,
        "metrics": metrics,
    }
    try:
        tracking.log_metrics(config.tracking, run_id, metrics)
        done["version"] = tracking.register(config.tracking, config.name, bundle_uri, run_id)
        done["promoted"] = promote(config, labels, store, cache, str(done["version"]), metrics.get(SCORE))
    except TrackingError as error:
        done["tracking_failed"] = str(error)
    return done


def _phases(config: TrainConfig) -> dict[str, TrainConfig]:
    """Return the trainings of a run by name: the recipe, with the head alone on features around it."""
    recipe = config.recipe
    if recipe.frozen or not recipe.head_epochs:
        return {"": config}
    alone = replace(recipe, epochs=recipe.head_epochs, backbone_learning_rate=0, patience=0)
    head = config.model_copy(update={"recipe": alone})
    return {"head_before": head, "": config, "head_after": head}


def _job(config: TrainConfig, parts: Parts, network: HashNetwork) -> TrainJob:
    return TrainJob(
        network=network.network_spec,
        input=network.input_spec,
        initial=network.state_dict(),
        keep_statistics=config.weights != "none",
        recipe=config.recipe,
        augment=config.augment,
        loss=config.loss,
        seed=config.seed,
        train=parts.train,
        validation=parts.validation,
    )


def _params(config: TrainConfig, network: HashNetwork) -> dict[str, object]:
    """Return what MLflow keeps of the config, names joined by dots."""
    unused = {"orthohash", "pairwise", "triplet"} - {config.objective}
    kept = config.model_dump(exclude={"store", "tracking", "dry_run", *unused})
    kept["input"] = asdict(network.input_spec)
    flat: dict[str, object] = {}
    for key, value in kept.items():
        inner = value if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else {f"{key}.{name}": inner[name] for name in inner}
    return flat


def _check_batch(config: TrainConfig, count: int) -> None:
    batch = config.recipe.batch_size
    if count < batch:
        raise ConfigError(f"{count} training chips don't fill a batch of {batch}; lower recipe.batch_size")
