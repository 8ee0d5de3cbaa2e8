"""The config of an evaluation."""

from pipelines.config import BundleUri, FeatureConfig, StageConfig, StoreConfig, TrackingConfig, Uri
from pipelines.labels.dataset import SplitConfig
from pipelines.sources.config import ArchiveConfig


class EvaluateConfig(StageConfig):
    """Measure a bundle's codes on labelled chips, and baselines of the same length; write a report."""

    bundle: BundleUri
    """Model bundle: URI of its folder, or models:/name@alias"""
    source: Uri
    """Labelled scenes: URI of a folder with a folder a class, or of a .parquet or .csv manifest"""
    output: Uri
    """Folder for evaluation.json and evaluation.html: URI"""
    split: SplitConfig = SplitConfig()
    features: FeatureConfig = FeatureConfig()
    places: ArchiveConfig | None = None
    """Scenes of the same places at several dates, cut as a night cuts its archive, to measure whether a place
    is found again at another date; empty: not measured"""
    seed: int = 0
    """Seed of ITQ's first rotation"""
    track: bool = True
    """Log figures and report to MLflow, as a run of their own below that of the bundle's training"""
    store: StoreConfig = StoreConfig()
    tracking: TrackingConfig = TrackingConfig()
