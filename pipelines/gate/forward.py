"""Publishing at the end of a night, if there is something new and the version passes the gate."""

from dataclasses import dataclass
from datetime import UTC, datetime

from model.spec import CodeSpec
from pipelines.errors import ConflictError
from pipelines.gate.config import GateConfig
from pipelines.gate.verdict import ArchiveCounts, Verdict, check_version
from pipelines.table.code_table import CodeTable
from pipelines.table.conflicts import Conflicts
from pipelines.table.pointer import Published, find_pointer, publish


@dataclass(frozen=True)
class Outcome:
    """How publishing ended."""

    published: Published | None
    """What is published now."""
    verdict: Verdict | None
    """The gate's verdict; None if there was nothing new to publish."""


def publish_forward(
    table: CodeTable,
    version: int,
    model_id: str,
    code: CodeSpec,
    bundle_uri: str,
    run_id: str,
    config: GateConfig,
    archive: ArchiveCounts | None = None,
) -> Outcome:
    """Publish a model's rows at a version, unless it fails the gate or nothing is new.

    A version is new if rows were committed for the model after the highest version of it that was ever
    published. So a rollback stands until a night adds something. If another job publishes at the same time,
    this one looks again. Raises the errors of `check_version`, and ConflictError if others always publish
    first.
    """
    current = find_pointer(table.uri, table.store)
    if not _is_news(table, model_id, version, current):
        return Outcome(current, None)
    verdict = check_version(table, model_id, version, code, config, archive)
    conflicts = Conflicts()
    while not verdict.failed:
        try:
            news = publication(table, verdict, version, model_id, bundle_uri, run_id)
            return Outcome(publish(table.uri, table.store, news, current), verdict)
        except ConflictError as conflict:
            conflicts.wait(conflict, "publish when no other job does")
        current = find_pointer(table.uri, table.store)
        if not _is_news(table, model_id, version, current):
            break
    return Outcome(current, verdict)


def publication(
    table: CodeTable, verdict: Verdict, version: int, model_id: str, bundle_uri: str, run_id: str
) -> Published:
    """Return the pointer's content for a version that the gate has measured."""
    return Published(
        table_id=table.id(version),
        table_version=version,
        model_id=model_id,
        bundle_uri=bundle_uri,
        run_id=run_id,
        published_at=datetime.now(UTC),
        gate=verdict.measured.figures,
        failed_checks=verdict.failed,
        skipped_checks=verdict.skipped,
        bits_on=verdict.measured.bits_on,
        encoded_until=verdict.measured.encoded_until,
    )


def _is_news(table: CodeTable, model_id: str, version: int, current: Published | None) -> bool:
    """Return whether the version has anything new to publish (see `publish_forward`)."""
    if current is None or not current.is_of_table(table.id()):
        return True
    highest = current.highest_versions.get(model_id)
    return highest is None or (highest < version and table.changed_since(model_id, highest))
