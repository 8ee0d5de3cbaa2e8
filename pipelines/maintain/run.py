"""Maintenance: merge small shards, then remove the files that no kept version needs."""

import structlog
from pydantic import BaseModel, ConfigDict

from pipelines.maintain.compact import compact, small_files
from pipelines.maintain.config import MaintainConfig
from pipelines.maintain.vacuum import clear_log, kept_versions, vacuum
from pipelines.storage.retry import translate_store_errors
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable

log = structlog.get_logger()


class MaintainReport(BaseModel):
    """What maintenance did, or would do."""

    model_config = ConfigDict(frozen=True)

    table: str
    dry_run: bool
    merged: int
    """How many small shards were merged."""
    shards: int
    """How many shards there are now."""
    kept_versions: list[int]
    """Published versions that stay readable."""
    removed_files: int
    removed_log_entries: int


def run_maintain(config: MaintainConfig) -> MaintainReport:
    """Compact and clean a table. Safe beside nights and the service, but not beside another maintenance.

    Raises TableError if there is no such table, ConflictError if other jobs change it all the time,
    StorageError if the store refuses, StoreDownError if it doesn't answer.
    """
    table = CodeTable(config.table, Store(config.store))
    table.store.require_bucket(table.uri)
    with translate_store_errors(table.uri, "maintained"):  # most of the work is Delta's own
        report = _maintain(table, config)
    log.info("maintained", **report.model_dump())
    return report


def _maintain(table: CodeTable, config: MaintainConfig) -> MaintainReport:
    if config.dry_run:
        merged = sum(len(files) for files in small_files(table.open()).values())
    else:
        merged = compact(table)
        table.compact_rejects()
    kept = kept_versions(table, config.keep_days, config.keep_publications)
    now = table.open()
    removed = vacuum(now, config.grace_hours, kept, dry_run=config.dry_run)
    removed += vacuum(table.open_rejects(), config.grace_hours, [], dry_run=config.dry_run)
    if not config.dry_run:
        table.open().create_checkpoint()
    oldest = min([*kept, now.version()])
    entries = clear_log(table.uri, table.store, oldest, config.grace_hours, dry_run=config.dry_run)
    return MaintainReport(
        table=table.uri,
        dry_run=config.dry_run,
        merged=merged,
        shards=len(table.open().file_uris()),
        kept_versions=kept,
        removed_files=removed,
        removed_log_entries=entries,
    )
