"""The config of maintenance."""

from pydantic import Field

from pipelines.config import StageConfig, StoreConfig, Uri


class MaintainConfig(StageConfig):
    """Compact the small shards of a code table, and remove the files that no kept version needs."""

    table: Uri
    """Code table: URI"""
    keep_days: float = Field(30, ge=0)
    """Versions that were published within this time stay readable [days]"""
    keep_publications: int = Field(2, ge=1)
    """So many publications stay readable however old they are, the present one included"""
    grace_hours: int = Field(48, ge=1)
    """Files and log entries younger than this stay too, as a running night needs them [hours]"""
    dry_run: bool = False
    """Change nothing; the report says what would be done"""
    store: StoreConfig = StoreConfig()
