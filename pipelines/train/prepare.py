"""What a training starts from: the network, and the labelled chips of its splits.

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
from pipelines.labels.features import compute_views
from pipelines.registry.bundles import read_bundle, resolve_bundle
from pipelines.storage.store import Store
from pipelines.train.config import TrainConfig
from pipelines.train.inputs import ChipRows, FeatureRows, decode
from pipelines.train.validation import LabelledSplit


@dataclass(frozen=True)
class LabelledSplits:
    """The two splits that a training uses; the test split is left to the evaluation."""

    train: LabelledSplit
    validation: LabelledSplit
    unreadable: tuple[Unreadable, ...]
    """Chips that are in neither, as they can't be read."""


def build_network(config: TrainConfig, store: Store) -> HashNetwork:
    """Return the network to start from, in eval mode. Raises ConfigError if it can't be built."""
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
    """Return how pixels become the backbone's input: as in its own training, unless the config differs."""
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
    """Return the classes of the training chips, sorted."""
    return tuple(sorted(pc.list_flatten(labels.rows("train")["labels"]).unique().to_pylist()))


def labelled_split(rows: FeatureRows | ChipRows, chips: pa.Table, labels: Labels) -> LabelledSplit:
    """Return chips with their labels; ``rows`` are the inputs of the same N ``chips``.

    Columns of labels_NC are the trained classes, sorted, then the classes of other chips, sorted.
    """
    trained = trained_classes(labels)
    return LabelledSplit(
        rows, multi_hot(chips, (*trained, *sorted(set(labels.class_names) - set(trained)))), len(trained)
    )


def feature_splits(
    config: TrainConfig, labels: Labels, network: HashNetwork, store: Store, cache: str
) -> LabelledSplits:
    """Return the splits as features of the network's backbone.

    Training chips have features of ``augment.views`` views, validation chips of one. Needs a running Ray,
    unless all features are cached. Raises StorageError if a chip that was read once can't be read again.
    """
    chips = labels.chips.filter(pc.not_equal(labels.chips["split"], "test"))
    in_train = chips.filter(pc.equal(chips["split"], "train"))
    chips_of_view = {0: chips} | dict.fromkeys(range(1, config.augment.views), in_train)
    features, *more = compute_views(chips_of_view, network, store, config.features, cache).values()
    readable = labels.chips.take(features.rows_N)
    is_train_N = pc.equal(readable["split"], "train").to_numpy()
    train, validation = (readable.filter(pa.array(chosen_N)) for chosen_N in (is_train_N, ~is_train_N))
    for each in more:
        odd = np.setxor1d(each.rows_N, features.rows_N[is_train_N])
        if odd.size:  # the cache has one view of a chip that can't be read any more
            uri = labels.chips["uri"][int(odd[0])]
            raise StorageError(f"{uri} could be read in an earlier run, not now; run again")
    views = [features.features_ND[is_train_N], *(each.features_ND for each in more)]
    return LabelledSplits(
        labelled_split(FeatureRows(np.stack(views, axis=1)), train, labels),
        labelled_split(FeatureRows(features.features_ND[~is_train_N, None]), validation, labels),
        features.unreadable,
    )


def image_splits(config: TrainConfig, labels: Labels, network: HashNetwork, store: Store) -> LabelledSplits:
    """Return the splits as decoded chips in Ray's object store.

    Raises ConfigError if too large a share of them can't be read.
    """
    splits, unreadable = [], []
    for split in ("train", "validation"):
        chips = labels.rows(split)
        rows = ChipRows((), np.empty((0, 2), np.int64))
        rows_N = np.empty(0, np.int64)
        if len(chips):
            rows, rows_N, missed = decode(chips, PixelSpec.of(network.input_spec), store)
            unreadable += missed
        splits.append(labelled_split(rows, labels.chips.take(rows_N), labels))
    total = labels.count("train") + labels.count("validation")
    check_unreadable(unreadable, total, config.features.max_unreadable_share)
    return LabelledSplits(splits[0], splits[1], tuple(unreadable))
