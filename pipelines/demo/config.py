"""The config of the demo."""

from pathlib import Path

from pydantic import Field

from pipelines.config import LocalPath, StageConfig


class DemoConfig(StageConfig):
    """The whole product on one machine: an archive of the world, a trained model, a served code table."""

    output: LocalPath = Field(Path("demo-output"), validate_default=True)
    """Folder for all files of the demo; files of an earlier demo in it are removed"""
    port: int = Field(8000, ge=1, le=65535)
    """Port of the query service on loopback"""
    mlflow_port: int = Field(5000, ge=1, le=65535)
    """Port of the MLflow UI on loopback, with keep"""
    keep: bool = False
    """Leave the service and the MLflow UI running until Ctrl-C"""
