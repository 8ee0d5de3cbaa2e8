"""What the configs of all stages share. Quick to import: no job's `--help` waits for a library."""

from pydantic import BaseModel, ConfigDict


class StageConfig(BaseModel):
    """What the configs of all stages have in common: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StoreConfig(StageConfig):
    """How to reach object stores. Keys come from the usual AWS chain (environment, profile, role)."""

    endpoint: str | None = None
    """Address of an S3-compatible server, e.g. http://127.0.0.1:8333; empty: AWS"""
    region: str = "us-east-1"
    """S3 region"""
    anonymous: bool = False
    """Read public buckets without keys"""


class TrackingConfig(StageConfig):
    """Where MLflow keeps runs and registered models."""

    uri: str | None = None
    """MLflow store: http(s)://server or sqlite:////absolute/file; empty: MLFLOW_TRACKING_URI"""
    experiment: str = "scenehash"
    """MLflow experiment that runs are filed under"""
