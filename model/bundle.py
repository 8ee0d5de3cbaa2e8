"""The bundle: all that turns pixels into codes, as two files. docs/formats/bundle.md is its specification.

Here a bundle is a mapping of file name to content. `pipelines.registry.bundles` reads and writes the files.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from model.spec import InputSpec, NetworkSpec

if TYPE_CHECKING:
    from model.network import HashNetwork  # takes seconds to import, and a manifest needs no network

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
_NAME = re.compile("[A-Za-z0-9._-]+")
_ATTENTION_GATE = "open"  # there was a second one, "literal", which lost


@dataclass(frozen=True)
class Manifest:
    """The description of a bundle. Raises ValueError if the name can't be the name of a folder."""

    name: str
    network: NetworkSpec
    input: InputSpec
    class_names: tuple[str, ...]
    files: Mapping[str, str]
    """sha256 in hex of each other file."""
    training_run_id: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):  # it becomes a folder's name, in the table
            raise ValueError(f"a model's name is letters, digits, '.', '_' and '-', not {self.name!r}")

    def to_bytes(self) -> bytes:
        """Return the canonical JSON: sorted keys, two spaces, a newline at the end.

        The model id is a hash of it. So a manifest of format version 1 is written as it was read, and the
        key ``network.attention_gate``, which has only one value left, is still written.
        """
        values = asdict(self)
        network = values["network"]
        network["attention_gate"] = _ATTENTION_GATE
        if self.format_version == 1:
            network["num_bits"] = network.pop("kind_bits")
            del network["look_bits"], network["kind_weight"]
        return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()

    @property
    def model_id(self) -> str:
        """``<name>@<first 12 hex digits of the sha256 over the manifest's content>``."""
        return f"{self.name}@{hashlib.sha256(self.to_bytes()).hexdigest()[:12]}"

    @classmethod
    def from_bytes(cls, content: bytes) -> "Manifest":
        """Read a manifest.

        Raises ValueError on another format version, a missing or unknown key, a value out of range, or an
        attention head of a kind that this version doesn't build any more.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            version = values["format_version"]
            if version not in (1, FORMAT_VERSION):
                raise ValueError(
                    f"bundle format {version} isn't 1 or {FORMAT_VERSION}, which this version reads"
                )
            network, input_spec = values.pop("network"), values.pop("input")
            gate = network.pop("attention_gate", _ATTENTION_GATE)
            if gate != _ATTENTION_GATE:
                raise ValueError(f"network.attention_gate {gate!r} isn't supported any more: train again")
            if version == 1:  # codes of one part
                network["kind_bits"] = network.pop("num_bits")
            for key in ("bands", "mean", "std", "low", "high"):
                input_spec[key] = tuple(input_spec[key])
            class_names = tuple(values.pop("class_names"))
            return cls(
                network=NetworkSpec(**network),
                input=InputSpec(**input_spec),
                class_names=class_names,
                **values,
            )
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"not a bundle's manifest: {error!r}") from error


def pack_bundle(
    network: "HashNetwork",
    name: str,
    class_names: tuple[str, ...],
    training_run_id: str,
    metrics: Mapping[str, float],
) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest and the bundle's files in the order to write them: the manifest last."""
    import safetensors.torch

    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    weights = safetensors.torch.save(state)
    manifest = Manifest(
        name=name,
        network=network.network_spec,
        input=network.input_spec,
        class_names=class_names,
        files={WEIGHTS: hashlib.sha256(weights).hexdigest()},
        training_run_id=training_run_id,
        metrics=dict(metrics),
    )
    return manifest, {WEIGHTS: weights, MANIFEST: manifest.to_bytes()}


def unpack_bundle(files: Mapping[str, bytes]) -> "tuple[Manifest, HashNetwork]":
    """Return the manifest and the network in eval mode, on the CPU.

    Raises ValueError if a file is missing, altered, or doesn't fit the network.
    """
    import safetensors
    import safetensors.torch

    from model.network import HashNetwork

    if MANIFEST not in files:
        raise ValueError(f"no {MANIFEST}: not a bundle, or one that wasn't written to its end")
    manifest = Manifest.from_bytes(files[MANIFEST])
    if set(manifest.files) != {WEIGHTS}:  # the model id covers only files that are named there
        raise ValueError(f"the manifest must name {WEIGHTS} and no other file, not {sorted(manifest.files)}")
    for name, digest in manifest.files.items():
        if name not in files:
            raise ValueError(f"the bundle's {name} is missing")
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ValueError(f"the bundle's {name} isn't the one that the manifest describes")
    network = HashNetwork(manifest.network, manifest.input)
    try:
        network.load_state_dict(safetensors.torch.load(files[WEIGHTS]))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise ValueError(f"the bundle's weights don't fit its network: {error}") from error
    return manifest, network.eval()
