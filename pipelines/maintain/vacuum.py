"""Removes what no kept version needs: data files, and the oldest entries of Delta's log."""

import re
from datetime import UTC, datetime, timedelta

from deltalake import DeltaTable

from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import publications

_LOG_FILE = re.compile(r"/(\d{20})\.[^/]+$")


def kept_versions(table: CodeTable, keep_days: float, keep_publications: int) -> list[int]:
    """Return the versions served within the last ``keep_days``, and those of the last publications."""
    table_id = table.id()
    since = datetime.now(UTC) - timedelta(days=keep_days)
    kept: set[int] = set()
    replaced_at = datetime.now(UTC)
    for place, published in enumerate(publications(table.uri, table.store)):
        if place >= keep_publications and replaced_at < since:
            break
        if not published.is_of_table(table_id):
            break  # of an earlier table at the same URI
        kept.add(published.table_version)
        replaced_at = published.published_at
    return sorted(kept)


def vacuum(table: DeltaTable, grace_hours: int, kept: list[int], *, dry_run: bool) -> int:
    """Remove the files that neither the present nor a kept version needs and that are old enough.

    Returns how many were removed, or in a dry run would be.
    """
    files = table.vacuum(
        retention_hours=grace_hours,
        dry_run=dry_run,
        enforce_retention_duration=False,
        full=True,  # also files that no commit names, which killed nights leave
        keep_versions=kept or None,
    )
    return len({file.rsplit("/", 1)[-1] for file in files})


def clear_log(table_uri: str, store: Store, oldest: int, grace_hours: int, *, dry_run: bool) -> int:
    """Remove the log entries that no version since ``oldest`` needs; return how many.

    Versions of the last ``grace_hours`` stay too: a running night commits on top of one, or measures it.
    """
    since = datetime.now(UTC) - timedelta(hours=grace_hours)
    entries: dict[str, int] = {}
    for info in store.list(f"{table_uri}/_delta_log", recursive=False):
        if match := _LOG_FILE.search(info.uri):
            entries[info.uri] = int(match[1])
            if info.uri.endswith(".json") and info.modified > since:
                oldest = min(oldest, entries[info.uri] - 1)  # the version before that commit
    checkpoints = [number for uri, number in entries.items() if ".checkpoint" in uri and number <= oldest]
    useless = [uri for uri, number in entries.items() if number < max(checkpoints, default=0)]
    if not dry_run:
        for uri in sorted(useless):  # the oldest first, so that the rest of the log is always without gaps
            store.remove(uri)
    return len(useless)
