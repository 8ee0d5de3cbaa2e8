"""Whether a new model gets the alias: if it is better than the version that holds it, on the same chips."""

import hashlib

import structlog

from pipelines.errors import BundleError
from pipelines.labels.dataset import Labels
from pipelines.labels.features import compute_features
from pipelines.registry import tracking
from pipelines.registry.bundles import read_bundle
from pipelines.storage.store import Store
from pipelines.train.config import TrainConfig
from pipelines.train.inputs import FeatureRows
from pipelines.train.prepare import labelled_split, trained_classes
from pipelines.train.validation import SCORE, validate

log = structlog.get_logger()

VALIDATION_TAG = "scenehash.validation"
"""Tag of a run: the chips and classes of its validation figures, see `validation_tag`."""


def validation_tag(labels: Labels) -> str:
    """Return a hash of the validation chips, and of the classes that have training chips."""
    trained = hashlib.sha256("\n".join(trained_classes(labels)).encode()).hexdigest()[:8]
    return f"{labels.digest('validation')}-{trained}"


def promote(
    config: TrainConfig, labels: Labels | None, store: Store, cache: str, version: str, score: float | None
) -> bool:
    """Move the alias to a registered version if the config says so; return whether it has moved.

    ``score`` is the new model's `SCORE`; None without labels, or if there were no chips to measure it on.
    Needs a running Ray if the holder has to be measured again.
    """
    if config.promote == "never":
        return False
    holder = tracking.find_holder(config.tracking, config.name, config.alias)
    if config.promote == "if-better" and holder is not None:
        if score is None or labels is None:
            log.warning("not promoted: no validation chips to compare on", alias=config.alias)
            return False
        held = _recorded_score(config, labels, holder.run_id)
        if held is None:
            held = _measured_score(config, labels, store, cache, holder.source)
        if held is not None and score <= held:
            log.warning("not promoted: not better", alias=config.alias, **{SCORE: score}, holder=held)
            return False
    tracking.set_alias(config.tracking, config.name, config.alias, version)
    return True


def _recorded_score(config: TrainConfig, labels: Labels, run_id: str | None) -> float | None:
    """Return the holder's score from its own training; None if that had other validation chips."""
    run = tracking.find_run(config.tracking, run_id) if run_id else None
    if run is None or run.data.tags.get(VALIDATION_TAG) != validation_tag(labels):
        return None
    score: float | None = run.data.metrics.get(SCORE)
    return score


def _measured_score(
    config: TrainConfig, labels: Labels, store: Store, cache: str, bundle_uri: str | None
) -> float | None:
    """Measure the holder on the validation chips; None if its bundle can't be read any more."""
    try:
        _, network = read_bundle(bundle_uri or "", store)
    except BundleError as error:
        log.warning("the holder's bundle can't be read", bundle=bundle_uri, reason=str(error))
        return None
    chips = labels.rows("validation")
    features = compute_features(chips, network, store, config.features, cache)
    readable = labels.chips.take(features.rows_N)
    split = labelled_split(FeatureRows(features.features_ND[:, None]), readable, labels)
    return validate(network, split).get(SCORE)
