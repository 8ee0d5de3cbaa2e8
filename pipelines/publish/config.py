"""The config of publishing by hand."""

from pydantic import Field, model_validator

from pipelines.config import StageConfig, StoreConfig, TrackingConfig
from pipelines.gate.config import GateConfig


class PublishConfig(StageConfig):
    """Publish a version of a code table by hand, take the last publication back, or list them."""

    table: str
    """Code table: URI"""
    version: int | None = Field(None, ge=0)
    """Publish this version of the table, if a night has left it so and it passes the gate"""
    bundle: str | None = None
    """Bundle whose codes are published: URI or models:/name@alias; empty: of what is published now"""
    force: bool = False
    """Publish the version though it fails the gate"""
    rollback: bool = False
    """Publish again what was published before"""
    history: bool = False
    """Only list what was published, newest first"""
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
