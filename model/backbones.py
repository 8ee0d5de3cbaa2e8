"""Feature networks from torchvision, cut at a named node.

Shapes: B images, C bands, S x S pixels, D features.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor


class Backbone(nn.Module):
    """A torchvision network up to ``node``, pooled over space: images_BCSS -> features_BD."""

    def __init__(self, name: str, node: str, weights: str = "none") -> None:
        """Build the network.

        ``weights`` is ``none`` (random), ``imagenet`` (torchvision's, downloaded once) or the path of a
        ``.safetensors`` file with torchvision's key names. Raises ValueError on an unknown name or
        node, or where the file doesn't cover every parameter of the cut network.
        """
        super().__init__()
        if name not in models.list_models(module=models):
            raise ValueError(f"unknown backbone {name!r}; torchvision.models.list_models() names them all")
        default = models.get_model_weights(name).DEFAULT if weights == "imagenet" else None
        try:
            network = models.get_model(name, weights=default)
        except OSError as error:
            raise ValueError(f"ImageNet weights of {name} can't be fetched ({error}); give a file") from error
        try:
            self.body = create_feature_extractor(network, {node: "features"})
        except ValueError as error:
            raise ValueError(f"backbone {name} has no node {node!r}: {error}") from error
        if weights not in ("none", "imagenet"):
            self._load(Path(weights))

    def _load(self, path: Path) -> None:
        state = load_file(path)
        wanted = self.body.state_dict()
        missing = sorted(
            key for key in wanted if key not in state and not key.endswith("num_batches_tracked")
        )
        if missing:
            raise ValueError(f"{path.name} lacks {len(missing)} parameters, among them {missing[:3]}")
        self.body.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})

    def forward(self, images_BCSS: Tensor) -> Tensor:
        """Return features_BD."""
        features: Tensor = self.body(images_BCSS)["features"]
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features

    @torch.inference_mode()
    def count_features(self, bands: int, size: int) -> int:
        """Return D, by running one blank image through."""
        training = self.training
        features_1D = self.eval()(torch.zeros(1, bands, size, size))
        self.train(training)
        return int(features_1D.shape[1])
