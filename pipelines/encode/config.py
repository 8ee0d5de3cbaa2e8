"""The config of an encoding run."""

from pydantic import Field

from pipelines.config import StageConfig, StoreConfig, TrackingConfig
from pipelines.publish.config import GateConfig


class NightTracking(TrackingConfig):
    """Where MLflow keeps a run for each night; without an address none is kept."""

    experiment: str = "scenehash-nightly"
    """MLflow experiment that nights are filed under"""


class EncodeConfig(StageConfig):
    """Encode what is new in an archive into the code table, and publish the result."""

    source: str
    """Archive: URI prefix below which the imagery lies, s3://bucket/prefix or a folder"""
    table: str
    """Code table: URI, made where there is none"""
    bundle: str
    """Model bundle: URI of its folder, or models:/name@alias"""
    collection: str = "default"
    """Collection that the rows are filed under"""
    suffixes: tuple[str, ...] = (".tif", ".tiff", ".jp2", ".jpg", ".jpeg", ".png")
    """Endings of the objects to encode, lower case; others are passed over"""
    chip_size: int = Field(256, ge=8, le=4096)
    """Side of a chip in the source [pixels]"""
    min_valid_fraction: float = Field(0.5, ge=0, le=1)
    """Least share of a chip that isn't nodata [0..1]"""
    objects_per_unit: int = Field(2000, ge=1)
    """Objects in one commit; make it a few minutes of work"""
    encoders: int = Field(1, ge=1)
    """Actors that run the network"""
    gpus_per_encoder: float = Field(0, ge=0)
    """GPUs of each of them; 0: CPU"""
    batch_size: int = Field(256, ge=1)
    """Chips in one forward pass"""
    gate: GateConfig = GateConfig()
    dry_run: bool = False
    """Only list and plan: say what would be encoded"""
    store: StoreConfig = StoreConfig()
    tracking: NightTracking = NightTracking()
