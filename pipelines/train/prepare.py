"""What a training starts from: the network, and its chips with their labels.

Shapes: N chips, C classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from model.backbones import Weights, own_input, read_weights
from model.network import HashNetwork
from model.spec import InputSpec
from pipelines.errors import ConfigError, StorageError
from pipelines.imagery.pixels import PixelSpec
from pipelines.labels.chip_pixels import Unreadable, check_unreadable
from pipelines.labels.dataset import Labels, multi_hot
from pipelines.labels.features import compute_features
from pipelines.registry.bundles import read_bundle, resolve_bundle
from pipelines.storage.store import Store
from pipelines.train.config import TrainConfig
from pipelines.train.inputs import ChipRows, FeatureRows, decode
from pipelines.train.validation import Part


@dataclass(frozen=True)
class Parts:
    """The two parts that a training sees, and what it can't."""

    train: Part
    validation: Part
    unreadable: tuple[Unreadable, ...]


def build_network(config: TrainConfig, store: Store) -> HashNetwork:
    """Return the network to start from, in eval mode. Raises ConfigError where it can't be built."""
    torch.manual_seed(config.seed)
    if config.look_from:
        return _with_look_of(config, store)
    try:
        input_spec = resolved_input(config)
        weights = _read_weights(config.weights, store)
        return HashNetwork(config.network, input_spec, weights).eval()
    except (ValueError, OSError) as error:
        raise ConfigError(f"network: {error}") from error


def _with_look_of(config: TrainConfig, store: Store) -> HashNetwork:
    """Return a network with the backbone, the input and the look bits of a bundle, and a head to train."""
    assert config.look_from is not None  # noqa: S101 - for mypy: the caller has looked
    _, given = read_bundle(resolve_bundle(config.look_from, config.tracking), store)
    spec = given.network_spec
    if not spec.look_bits:
        raise ConfigError(f"{config.look_from} has no look bits to take; train without look_from")
    wanted = replace(config.network, backbone=spec.backbone, node=spec.node, look_bits=spec.look_bits)
    try:
        network = HashNetwork(wanted, given.input_spec)
    except ValueError as error:
        raise ConfigError(f"network: {error}") from error
    network.backbone.load_state_dict(given.backbone.state_dict())
    network.look.load_state_dict(given.look.state_dict())
    return network.eval()


def resolved_input(config: TrainConfig) -> InputSpec:
    """Return how the backbone is fed: as it was trained, but for what the config says otherwise."""
    given = {key: value for key, value in config.input.model_dump().items() if value is not None}
    return replace(own_input(config.network.backbone), **given)


def _read_weights(weights: str, store: Store) -> Weights:
    if weights == "none":
        return "none"
    if weights == "imagenet":
        return "imagenet"
    try:
        return read_weights(store.read(weights), weights)
    except FileNotFoundError as error:
        raise ConfigError(
            f"weights {weights} don't exist; give imagenet, none or the URI of a file"
        ) from error


def trained_classes(labels: Labels) -> tuple[str, ...]:
    """Return the classes that training chips have, sorted."""
    return tuple(sorted(pc.list_flatten(labels.rows("train")["labels"]).unique().to_pylist()))


def labelled_part(rows: FeatureRows | ChipRows, chips: pa.Table, labels: Labels) -> Part:
    """Return chips with their labels; training chips have but the classes that are trained."""
    trained = trained_classes(labels)
    return Part(
        rows, multi_hot(chips, (*trained, *sorted(set(labels.class_names) - set(trained)))), len(trained)
    )


def feature_parts(
    config: TrainConfig, labels: Labels, network: HashNetwork, store: Store, cache: str
) -> Parts:
    """Return the parts as features of the network's backbone. Needs a running Ray, unless all are cached.

    Training chips have features of several views, validation chips of one.
    """
    chips = labels.chips.filter(pc.not_equal(labels.chips["split"], "test"))
    features = compute_features(chips, network, store, config.features, cache)
    readable = labels.chips.take(features.rows_N)
    is_train_N = pc.equal(readable["split"], "train").to_numpy()
    train, validation = (readable.filter(pa.array(of_part_N)) for of_part_N in (is_train_N, ~is_train_N))
    views = [features.features_ND[is_train_N]]
    for view in range(1, config.augment.views):
        more = compute_features(train, network, store, config.features, cache, view)
        if more.unreadable:
            raise StorageError(f"{more.unreadable[0].uri} could be read a moment ago, not now; run again")
        views.append(more.features_ND)
    return Parts(
        labelled_part(FeatureRows(np.stack(views, axis=1)), train, labels),
        labelled_part(FeatureRows(features.features_ND[~is_train_N, None]), validation, labels),
        features.unreadable,
    )


def image_parts(config: TrainConfig, labels: Labels, network: HashNetwork, store: Store) -> Parts:
    """Return the parts as decoded chips in Ray's object store."""
    parts, unreadable = [], []
    for split in ("train", "validation"):
        chips = labels.rows(split)
        rows = ChipRows((), np.empty((0, 2), np.int64))
        rows_N = np.empty(0, np.int64)
        if len(chips):
            rows, rows_N, missed = decode(chips, PixelSpec.of(network.input_spec), store)
            unreadable += missed
        parts.append(labelled_part(rows, labels.chips.take(rows_N), labels))
    total = labels.count("train") + labels.count("validation")
    check_unreadable(unreadable, total, config.features.max_unreadable_share)
    return Parts(parts[0], parts[1], tuple(unreadable))
