"""Presets: named values for the options of a training, which the user may override."""

from collections.abc import Mapping
from typing import Any, Literal

Preset = Literal["default", "default64", "unlabelled", "seed_a", "seed_b"]

PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    # OrthoHash with a contrastive term behind one hidden layer, on a frozen Inception v3, and look bits
    "default": {"network": {"look_bits": 192}},
    # the same kind bits alone
    "default64": {},
    # look bits alone, of an archive without labels
    "unlabelled": {"network": {"head": "none", "kind_bits": 0, "look_bits": 256}},
    # pairwise hashing: a linear hash layer on GoogLeNet, all of it fine-tuned, batches of 50 (CN107016708B)
    "seed_a": {
        "network": {"backbone": "googlenet", "node": "inception5b", "head": "linear", "kind_bits": 48},
        "objective": "pairwise",
        "pairwise": {"balance": True, "margin": 1.0, "uniform_weight": 20.0},
        "recipe": {
            "batch_size": 50,
            "chips_per_class": 5,
            "head_epochs": 20,
            "epochs": 8,
            "learning_rate": 3e-3,
            "backbone_learning_rate": 1e-4,
        },
    },
    # channel attention, triplets and isometric quantisation on a frozen Inception v3 (the other patent)
    "seed_b": {
        "network": {"head": "attention", "node": "Mixed_7a"},
        "objective": "triplet",
        "triplet": {"isometric_weight": 0.01},
        "recipe": {"epochs": 25, "batch_size": 150, "chips_per_class": 5, "learning_rate": 5e-4},
    },
}


def with_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values of a config, and those of its preset for what isn't given."""
    preset = PRESETS.get(given.get("preset", "default"), {})
    return _merged(preset, given)


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` overridden by ``given``, section by section."""
    merged = {**base, **given}
    for key in base.keys() & given.keys():
        if isinstance(base[key], Mapping) and isinstance(given[key], Mapping):
            merged[key] = _merged(base[key], given[key])
    return merged
