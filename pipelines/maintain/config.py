"""The config of maintenance."""

from pydantic import Field

from pipelines.config import StageConfig, StoreConfig


class MaintainConfig(StageConfig):
    """Compact the small shards of a code table, and remove the files that no kept version needs."""

    table: str
    """Code table: URI"""
    keep_days: float = Field(30, ge=0)
    """What was published in these last days stays readable [days]"""
    keep_publications: int = Field(2, ge=1)
    """And so many publications, the present one included, however old"""
    grace_hours: int = Field(48, ge=1)
    """Younger files and log entries stay too: a running night needs them [hours]"""
    dry_run: bool = False
    """Only say what would be done"""
    store: StoreConfig = StoreConfig()
