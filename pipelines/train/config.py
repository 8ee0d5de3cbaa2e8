"""The config of a training."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from model.loss_spec import (
    LossSpec,
    Objective,
    OrthoHashSpec,
    PairwiseSpec,
    TripletSpec,
    views_a_chip,
)
from model.recipe import AugmentSpec, Recipe
from model.spec import NetworkSpec, Resize
from pipelines.config import (
    BundleUri,
    FeatureConfig,
    StageConfig,
    StoreConfig,
    TrackingConfig,
    Uri,
    located,
)
from pipelines.labels.dataset import SplitConfig
from pipelines.sources.config import ArchiveConfig
from pipelines.train.presets import Preset, with_preset


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NetworkConfig(NetworkSpec):
    """The network to train."""


class InputConfig(StageConfig):
    """How pixels become the network's input; what isn't set is as in the backbone's own training."""

    size: int | None = None
    """Side of the network's square input [pixels, 8..1024]"""
    bands: tuple[int, ...] = (1, 2, 3)
    """Raster bands in the order that the network takes, from 1"""
    mean: tuple[float, ...] | None = None
    """Mean per band, pixels scaled to [0, 1]"""
    std: tuple[float, ...] | None = None
    """Standard deviation per band, pixels scaled to [0, 1]"""
    resize: Resize | None = None
    """Interpolation, antialiased: bilinear or bicubic"""
    low: tuple[float, ...] = ()
    """Source value per band that becomes 0; empty: 8 bits as they are"""
    high: tuple[float, ...] = ()
    """Source value per band that becomes 255; empty: 8 bits as they are"""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RecipeConfig(Recipe):
    """The optimisation."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AugmentConfig(AugmentSpec):
    """Views of a chip: turned for a frozen backbone, changed at random in fine-tuning."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OrthoHashConfig(OrthoHashSpec):
    """With objective orthohash, the default: a target code for each class, similar codes for two views."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PairwiseConfig(PairwiseSpec):
    """With objective pairwise (seed A): similar pairs together, others apart."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TripletConfig(TripletSpec):
    """With objective triplet (seed B): chips of one class nearer to each other than to other classes."""


ARCHIVE_ONLY = tuple(sorted(set(ArchiveConfig.model_fields) - {"source"}))
"""Fields that say which chips of an archive to learn from; they are for training without labels only."""


def _located_weights(weights: str) -> str:
    return weights if weights in ("imagenet", "none") else located(weights)


class TrainConfig(ArchiveConfig):
    """Train a hashing network on labelled scenes, or on an archive without labels; register a bundle."""

    source: Uri
    """Labelled scenes: URI of a folder with a folder a class, or of a .parquet or .csv manifest; for the \
preset unlabelled an archive, as a night takes it"""
    samples: int = Field(10_000, ge=2)
    """Unlabelled: windows to learn from, at most, evenly over the archive's scenes"""
    bundles: Uri
    """Folder for bundles: URI; the new one is written below it, under its model id"""
    preset: Preset = "default"
    """Values that other options have unless they are set: default, default64 (no look bits), unlabelled,
    seed_a or seed_b"""
    look_from: BundleUri | None = None
    """Bundle whose backbone, input and look bits are taken as they are, and kind bits added: URI of its \
folder, or models:/name@alias"""
    name: str = Field("scenehash", pattern=r"^[A-Za-z0-9._-]+$")
    """Name of the model, in the model id and in the registry"""
    alias: str = "champion"
    """Registry alias that the new version gets"""
    promote: Literal["if-better", "always", "never"] = "if-better"
    """Move the alias to the new version: if its validation score is better than that of the version that \
has it, on the same chips; always; or never"""
    split: SplitConfig = SplitConfig()
    network: NetworkConfig = NetworkConfig()
    input: InputConfig = InputConfig()
    weights: Annotated[str, AfterValidator(_located_weights)] = "imagenet"
    """Backbone weights to start from: imagenet, none, or the URI of a .safetensors or .pth file"""
    recipe: RecipeConfig = RecipeConfig()
    augment: AugmentConfig = AugmentConfig()
    objective: Objective = "orthohash"
    """Loss: orthohash, pairwise (seed A) or triplet (seed B)"""
    orthohash: OrthoHashConfig = OrthoHashConfig()
    pairwise: PairwiseConfig = PairwiseConfig()
    triplet: TripletConfig = TripletConfig()
    features: FeatureConfig = FeatureConfig()
    seed: int = 0
    """Seed of initial weights, targets, order and augmentation"""
    workers: int = Field(1, ge=0)
    """Ray Train workers (DDP), one GPU or one CPU each; 0: train in the job's own process"""
    use_gpu: bool = False
    """Give each worker a GPU, and use nccl"""
    dry_run: bool = False
    """Only check the source and the network: say what would be trained on"""
    store: StoreConfig = StoreConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
        return with_preset(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _fits(self) -> Self:
        batch, workers = self.recipe.batch_size, max(1, self.workers)
        if batch % workers:
            raise ValueError(f"recipe.batch_size {batch} must be a multiple of workers ({workers})")
        if self.recipe.frozen and self.weights == "none" and not self.look_from:
            raise ValueError("a frozen backbone needs weights; or set recipe.backbone_learning_rate above 0")
        self._check_parts()
        return self

    def _check_parts(self) -> None:
        """Raise ValueError on options that don't fit the parts of the code."""
        given = [name for name in ARCHIVE_ONLY if name in self.model_fields_set]
        if self.labelled and given:
            raise ValueError(f"{', '.join(given)}: only for training without labels (preset unlabelled)")
        if not self.labelled and self.look_from:
            raise ValueError("look_from needs labels: it adds kind bits to the look bits of a bundle")
        if self.look_from and self.model_fields_set & {"input", "weights"}:
            raise ValueError("input and weights are those of the bundle look_from: leave them out")
        if not self.recipe.frozen and (self.look_from or not self.labelled):
            raise ValueError("the backbone must stay frozen with look_from and without labels")
        pairs = self.recipe.frozen and self.labelled and views_a_chip(self.loss) > 1
        if (pairs or self.network.look_bits) and self.augment.views < 2:
            raise ValueError(
                "augment.views must be 2 or more: look bits and contrast_weight compare two views"
            )

    @property
    def labelled(self) -> bool:
        """Whether the source has labels: the codes have kind bits then."""
        return self.network.kind_bits > 0

    @property
    def loss(self) -> LossSpec:
        """The options of the chosen objective."""
        specs: dict[Objective, LossSpec] = {
            "orthohash": self.orthohash,
            "pairwise": self.pairwise,
            "triplet": self.triplet,
        }
        return specs[self.objective]
