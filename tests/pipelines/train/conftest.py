"""A small training: textures in a bucket, a fixed random backbone, MLflow on SQLite."""

import pytest
import safetensors.torch
import torch
from mlflow import MlflowClient

from model.backbones import Backbone
from pipelines.config import TrackingConfig
from pipelines.train.config import InputConfig, NetworkConfig, RecipeConfig, TrainConfig


@pytest.fixture(scope="module")
def scenes(store, write_scenes, request):
    return write_scenes(store, f"s3://archive/{request.module.__name__.rpartition('.')[2]}")


@pytest.fixture(scope="module")
def weights(store, scenes):
    """A file with the weights of a backbone that nobody has trained: textures differ in its features too."""
    torch.manual_seed(0)
    state = {
        key: value.contiguous() for key, value in Backbone("resnet18", "layer1").body.state_dict().items()
    }
    uri = f"{scenes.prefix}/weights.safetensors"
    store.write(uri, safetensors.torch.save(state))
    return uri


@pytest.fixture(scope="module")
def frozen(store, scenes, weights, tmp_path_factory):
    """The config of a head on a frozen backbone, trained in this process."""
    return TrainConfig(
        source=scenes.manifest,
        bundles=f"{scenes.prefix}-bundles",
        network=NetworkConfig(backbone="resnet18", node="layer1", hidden=0, kind_bits=16),
        input=InputConfig(size=16),
        weights=weights,
        recipe=RecipeConfig(epochs=6, batch_size=24, learning_rate=1e-2),
        workers=0,
        store=store.config,
        tracking=TrackingConfig(uri=f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"),
    )


@pytest.fixture(scope="module")
def tuned(frozen):
    """The config of a training of all layers from nothing, by two DDP workers."""
    recipe = RecipeConfig(epochs=8, batch_size=24, learning_rate=3e-3, backbone_learning_rate=3e-3)
    return frozen.model_copy(update={"weights": "none", "recipe": recipe, "workers": 2, "name": "tuned"})


@pytest.fixture(scope="module")
def mlflow(frozen):
    return MlflowClient(tracking_uri=frozen.tracking.uri)
