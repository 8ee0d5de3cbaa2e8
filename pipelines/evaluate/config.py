"""The config of an evaluation."""

from pydantic import Field

from pipelines.config import StageConfig, StoreConfig, TrackingConfig


class EvaluateConfig(StageConfig):
    """Measure a bundle's codes on labelled chips, beside baselines of the same length; write a report."""

    bundle: str
    """Model bundle: URI of its folder, or models:/name@alias"""
    manifest: str
    """Labelled chips: URI of a Parquet file as for training, with chips in the splits test and train"""
    output: str
    """Folder for evaluation.json and evaluation.html: URI"""
    batch_size: int = Field(128, ge=1)
    """Chips in one forward pass"""
    seed: int = 0
    """Seed of ITQ's first rotation"""
    store: StoreConfig = StoreConfig()
    tracking: TrackingConfig = TrackingConfig()
