"""The config of a training."""

from typing import Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from model.loss_spec import LossSpec, Objective, OrthoHashSpec, PairwiseSpec, TripletSpec
from model.spec import InputSpec, NetworkSpec
from pipelines.config import StageConfig, StoreConfig, TrackingConfig


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NetworkConfig(NetworkSpec):
    """The network to train."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class InputConfig(InputSpec):
    """How pixels become its input; saved in the bundle, so that encoding and queries do the same."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OrthoHashConfig(OrthoHashSpec):
    """With objective orthohash, the default: one target code a class."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PairwiseConfig(PairwiseSpec):
    """With objective pairwise (seed A): similar pairs together, others apart."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TripletConfig(TripletSpec):
    """With objective triplet (seed B): each class nearer to its own than to others."""


class TrainConfig(StageConfig):
    """Train a hashing network on labelled chips; write a bundle and register it."""

    manifest: str
    """Labelled chips: URI of a Parquet file with columns uri, window, label, split"""
    bundles: str
    """Folder for bundles: URI; the new one is written below it, under its model id"""
    name: str = Field("scenehash", pattern=r"^[A-Za-z0-9._-]+$")
    """Name of the model, in the model id and in the registry"""
    alias: str = "champion"
    """Registry alias that the new version gets"""
    network: NetworkConfig = NetworkConfig()
    input: InputConfig = InputConfig()
    weights: str = "imagenet"
    """Backbone weights to start from: imagenet, none, or a .safetensors file with torchvision's names"""
    epochs: int = Field(30, ge=1)
    """Passes over the training chips"""
    batch_size: int = Field(128, ge=2)
    """Chips in one step, over all workers together"""
    learning_rate: float = Field(1e-3, gt=0)
    """Highest learning rate; it warms up over the first tenth and falls to 0 along a cosine"""
    weight_decay: float = Field(5e-4, ge=0)
    """AdamW's decay"""
    objective: Objective = "orthohash"
    """Loss: orthohash, pairwise (seed A) or triplet (seed B)"""
    orthohash: OrthoHashConfig = OrthoHashConfig()
    pairwise: PairwiseConfig = PairwiseConfig()
    triplet: TripletConfig = TripletConfig()
    seed: int = 0
    """Seed of initial weights, targets, order and augmentation"""
    workers: int = Field(1, ge=1)
    """Ray Train workers (DDP): one GPU or one CPU each"""
    use_gpu: bool = False
    """Give each worker a GPU, and use nccl"""
    dry_run: bool = False
    """Only check the manifest and the network: say what would be trained on"""
    store: StoreConfig = StoreConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.batch_size % self.workers or self.batch_size // self.workers < 2:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of workers, 2 chips each at least"
            )
        return self

    @property
    def loss(self) -> LossSpec:
        """The options of the chosen objective."""
        specs: dict[Objective, LossSpec] = {
            "orthohash": self.orthohash,
            "pairwise": self.pairwise,
            "triplet": self.triplet,
        }
        return specs[self.objective]
