"""The config of publishing by hand."""

from pydantic import Field, model_validator

from pipelines.config import BundleUri, StageConfig, StoreConfig, TrackingConfig, Uri
from pipelines.gate.config import GateConfig


class PublishConfig(StageConfig):
    """Publish a version of a code table by hand, roll back to the publication before, or list all."""

    table: Uri
    """Code table: URI"""
    version: int | None = Field(None, ge=0)
    """Publish this version of the table, if it is the end of a night and passes the gate"""
    bundle: BundleUri | None = None
    """Bundle whose codes are published: URI or models:/name@alias; empty: that of the present publication"""
    force: bool = False
    """Publish the version though it fails the gate"""
    rollback: bool = False
    """Publish again what was published before the present publication"""
    history: bool = False
    """Only list the publications, newest first"""
    gate: GateConfig = GateConfig()
    store: StoreConfig = StoreConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _one_of_three(self) -> "PublishConfig":
        if (self.version is not None) + self.rollback + self.history != 1:
            raise ValueError("give one of --version N, --rollback, --history")
        if self.version is None and (self.bundle or self.force):
            raise ValueError("bundle and force go with --version")
        return self
