"""Feature networks: torchvision's cut at a named node, timm's, or a user's own.

Shapes: B images, C bands, S x S pixels, D features, T tokens.
"""

import hashlib
import importlib
import io
import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from model.spec import InputSpec

Weights = Literal["none", "imagenet"] | Mapping[str, Tensor]
"""Random, the library's own ImageNet weights (downloaded once), or a state read by `read_weights`."""

_AUXILIARY = ("googlenet", "inception_v3")  # their side classifiers and input transform are switched off
_CENTRED = 128 / 255  # (x - 128) / 128, with which TensorFlow's networks were trained


class Backbone(nn.Module):
    """images_BCSS -> features_BD: a network up to one node or several, pooled over space or tokens."""

    def __init__(self, name: str, node: str, weights: Weights = "none") -> None:
        """Build ``name``: a model of torchvision, ``timm:<name>``, or ``module:factory``.

        torchvision's models are cut at ``node``, and later layers are removed. ``first+second`` names two
        nodes: their pooled outputs stand side by side, each scaled so that the mean square of its features
        is 1, as the outputs of different layers differ much in size. For timm's models and factories ``node``
        may be empty: they give their own output then. Raises ValueError on an unknown name or node, or if
        ``weights`` lack a parameter that is left.
        """
        super().__init__()
        self.name, self.node = name, node
        network = _build(name, imagenet=weights == "imagenet")
        self.body = _cut(network, name, node)
        self.is_swin = isinstance(network, models.SwinTransformer)
        if not isinstance(weights, str):
            self._load(weights)

    def _load(self, state: Mapping[str, Tensor]) -> None:
        wanted = self.body.state_dict()
        missing = sorted(
            key for key in wanted if key not in state and not key.endswith("num_batches_tracked")
        )
        if missing:
            raise ValueError(f"the weights lack {len(missing)} parameters of {self.name}: {_some(missing)}")
        wrong = sorted(key for key in wanted if key in state and state[key].shape != wanted[key].shape)
        if wrong:
            raise ValueError(f"{len(wrong)} weights have other shapes than in {self.name}: {_some(wrong)}")
        self.body.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})

    def forward(self, images_BCSS: Tensor) -> Tensor:
        """Return features_BD: means over space (BDSS) or over tokens (BTD), of each node in turn."""
        output = self.body(images_BCSS)
        outputs: dict[str, Tensor] = output if isinstance(output, dict) else {self.node: output}
        pooled = [self._pool(outputs[node], node) for node in self.node.split("+")]
        if len(pooled) == 1:
            return pooled[0]
        scaled = [F.normalize(each_BD.float()) * math.sqrt(each_BD.shape[1]) for each_BD in pooled]
        return torch.cat(scaled, dim=1)

    def _pool(self, output: Tensor, node: str) -> Tensor:
        if output.ndim == 4:
            return output.mean(dim=(1, 2) if self.is_swin and node != "permute" else (2, 3))
        return output.mean(dim=1) if output.ndim == 3 else output

    @torch.inference_mode()
    def count_features(self, bands: int, size: int) -> int:
        """Return D, by running a blank image through. Raises ValueError if images of this size don't fit."""
        training = self.training
        try:
            features_1D = self.eval()(torch.zeros(1, bands, size, size))
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"{self.name} can't take {bands} x {size} x {size}: {error}") from error
        self.train(training)
        return int(features_1D.shape[1])

    def fingerprint(self) -> str:
        """Return 16 hex digits: a hash of name, node and weights."""
        digest = hashlib.sha256(f"{self.name}|{self.node}".encode())
        for key, value in sorted(self.body.state_dict().items()):
            content_X = np.ascontiguousarray(value.detach().cpu().numpy())
            digest.update(f"{key}{content_X.dtype}{content_X.shape}".encode())
            digest.update(content_X.data)
        return digest.hexdigest()[:16]


def read_weights(content: bytes, name: str) -> dict[str, Tensor]:
    """Read a network's state from a ``.safetensors`` or ``.pth`` file, as float32; no code in it is run.

    Raises ValueError if it is neither, or holds anything but tensors by name.
    """
    try:
        if name.endswith(".safetensors"):
            state = safetensors.torch.load(content)
        else:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{name} isn't a file of weights (.safetensors, or .pth of plain tensors)"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{name} holds no state of a network: tensors by name")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def own_input(name: str) -> InputSpec:
    """Return the input that a backbone was trained with; that of ImageNet's networks if it is unknown.

    Sources: torchvision's transforms of the default weights, timm's data config. Inception v3 and
    torchvision's GoogLeNet come from TensorFlow, where the input is (x - 128) / 128.
    """
    if name.startswith("timm:"):
        return _timm_input(name.removeprefix("timm:"))
    if ":" in name:
        return InputSpec()
    transforms = _torchvision_weights(name).transforms()
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    if name in _AUXILIARY:
        mean, std = (_CENTRED,) * 3, (_CENTRED,) * 3
    resize: Literal["bilinear", "bicubic"] = (
        "bicubic" if transforms.interpolation.value == "bicubic" or name == "inception_v3" else "bilinear"
    )
    return InputSpec(size=transforms.crop_size[0], mean=mean, std=std, resize=resize)


def _build(name: str, *, imagenet: bool) -> nn.Module:
    if name.count(":") > 1:  # timm's own prefixes: local-dir:, hf-hub:
        raise ValueError(f"backbone {name}: only what timm itself defines, no folder and nothing from a hub")
    try:
        if name.startswith("timm:"):
            create: Callable[..., nn.Module] = _timm().create_model
            return create(name.removeprefix("timm:"), pretrained=imagenet, num_classes=0)
        if ":" not in name:
            return _build_torchvision(name, imagenet=imagenet)
    except OSError as error:
        raise ValueError(
            f"ImageNet weights of {name} can't be fetched ({error}); give a file with --weights"
        ) from error
    except RuntimeError as error:
        raise ValueError(f"backbone {name}: {error}") from error
    if imagenet:
        raise ValueError(f"{name} brings no weights of its own; give a file with --weights, or none")
    return _factory(name)()


def _build_torchvision(name: str, *, imagenet: bool) -> nn.Module:
    weights = _torchvision_weights(name)
    quiet = {"init_weights": not imagenet} if name in _AUXILIARY else {}
    network: nn.Module = models.get_model(name, weights=weights if imagenet else None, **quiet)
    if name in _AUXILIARY:
        removed = {
            "aux_logits": False,
            "transform_input": False,
            "AuxLogits": None,
            "aux1": None,
            "aux2": None,
        }
        for attribute, value in removed.items():
            setattr(network, attribute, value)
    return network


def _torchvision_weights(name: str) -> models.WeightsEnum:
    if name not in models.list_models(module=models):
        raise ValueError(f"unknown backbone {name!r}; torchvision.models.list_models() names them all")
    return models.get_model_weights(name).DEFAULT


def _cut(network: nn.Module, name: str, node: str) -> nn.Module:
    if not node and ":" in name:
        return network
    nodes = node.split("+")
    try:
        body: nn.Module = create_feature_extractor(network.eval(), {each: each for each in nodes})
    except ValueError as error:
        known = get_graph_node_names(network)[1]
        missing = [each for each in nodes if not any(f"{node}.".startswith(f"{each}.") for node in known)]
        if not missing:
            raise
        raise ValueError(
            f"backbone {name} has no node {' and no node '.join(map(repr, missing))}: give network.node, as "
            "its default names nodes of inception_v3 (torchvision.models.feature_extraction."
            "get_graph_node_names lists a network's nodes)"
        ) from error
    return body


def _factory(name: str) -> Callable[[], nn.Module]:
    """Return the function or class that ``module:factory`` names. Raises ValueError if there is none.

    The name may come from a stranger's bundle. So only what the module itself defines is called, and only if
    it is, or is annotated to return, an nn.Module.
    """
    module_name, _, factory_name = name.partition(":")
    try:
        factory: Callable[[], nn.Module] = getattr(importlib.import_module(module_name), factory_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"backbone {name}: {error}; it must be importable as module:factory") from error
    returns = getattr(factory, "__annotations__", {}).get("return", factory)
    if factory.__module__ != module_name or not (
        isinstance(returns, type) and issubclass(returns, nn.Module)
    ):
        raise ValueError(
            f"backbone {name} must be a class, or a function annotated to return one, of nn.Module"
        )
    return factory


def _timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ValueError("timm isn't installed: pip install timm") from error


def _timm_input(name: str) -> InputSpec:
    settings = _timm().data.resolve_data_config(_build(f"timm:{name}", imagenet=False).pretrained_cfg)
    return InputSpec(
        size=settings["input_size"][1],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        resize="bicubic" if settings["interpolation"] == "bicubic" else "bilinear",
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
