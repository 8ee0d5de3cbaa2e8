"""The config of an encoding run."""

from typing import Self

from pydantic import Field, model_validator

from pipelines.config import BundleUri, StoreConfig, TrackingConfig, Uri
from pipelines.gate.config import GateConfig
from pipelines.sources.config import ArchiveConfig


class NightTracking(TrackingConfig):
    """Where MLflow keeps a run for each night; without an address there is no run."""

    experiment: str = "scenehash-nightly"
    """MLflow experiment that nights are filed under"""


class EncodeConfig(ArchiveConfig):
    """Encode what is new in an archive into the code table, and publish the result."""

    prune: bool = False
    """Remove the chips of objects that the source doesn't list any more"""
    max_prune_share: float = Field(0.1, ge=0, le=1)
    """Largest share of all objects that prune may remove; more stop the job [0..1]"""
    table: Uri
    """Code table: URI; created if there is none"""
    bundle: BundleUri
    """Model bundle: URI of its folder, or models:/name@alias"""
    recut: bool = False
    """Encode objects again that the table holds with another grid or other pixels; else such a night stops"""
    objects_per_unit: int = Field(2000, ge=1)
    """Objects in one commit; a night that breaks off loses about three of these units"""
    encoders: int = Field(0, ge=0)
    """Actors that run the network; 0: one for each CPU of the cluster, or for each GPU"""
    gpus_per_encoder: float = Field(0, ge=0)
    """GPUs for each actor; 0: it runs on the CPU"""
    batch_size: int = Field(32, ge=1)
    """Chips in one forward pass; GPUs want more"""
    gate: GateConfig = GateConfig()
    dry_run: bool = False
    """Only list and plan; the report says what would be encoded"""
    store: StoreConfig = StoreConfig()
    tracking: NightTracking = NightTracking()

    @property
    def covers_a_part(self) -> bool:
        """Whether the source is asked for a part of its objects only."""
        return bool(self.since or self.until or self.search.max_items)

    @model_validator(mode="after")
    def _prunes_the_whole(self) -> Self:
        if self.prune and self.covers_a_part:
            raise ValueError("prune needs the whole archive: leave out since, until and search.max_items")
        return self
