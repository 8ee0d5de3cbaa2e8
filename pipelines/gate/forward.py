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
class Candidate:
    """What is to be published."""

    version: int
    """Of the table."""
    model_id: str
    bundle_uri: str
    run_id: str
    """The run that publishes it."""


@dataclass(frozen=True)
class PublishResult:
    """How publishing ended."""

    published: Published | None
    """What is published now."""
    verdict: Verdict | None
    """The gate's verdict; None if there was nothing new to publish."""


def publish_forward(
    table: CodeTable,
    candidate: Candidate,
    code: CodeSpec,
    config: GateConfig,
    archive: ArchiveCounts | None = None,
) -> PublishResult:
    """Publish a model's rows at a version, unless it fails the gate or nothing is new.

    A version is new if rows were committed for the model after the highest version of it that was ever
    published. So a rollback stands until a night adds something. If another job publishes at the same time,
    this one looks again. Raises the errors of `check_version`, and ConflictError if others always publish
    first.
    """
    current = find_pointer(table.uri, table.store)
    if not _is_news(table, candidate, current):
        return PublishResult(current, None)
    verdict = check_version(table, candidate.model_id, candidate.version, code, config, archive)
    conflicts = Conflicts()
    while not verdict.failed:
        try:
            news = publication(table, candidate, verdict)
            return PublishResult(publish(table.uri, table.store, news, current), verdict)
        except ConflictError as conflict:
            conflicts.wait(conflict, "publish when no other job does")
        current = find_pointer(table.uri, table.store)
        if not _is_news(table, candidate, current):
            break
    return PublishResult(current, verdict)


def publication(table: CodeTable, candidate: Candidate, verdict: Verdict) -> Published:
    """Return the pointer's content for a version that the gate has measured."""
    return Published(
        table_id=table.id(candidate.version),
        table_version=candidate.version,
        model_id=candidate.model_id,
        bundle_uri=candidate.bundle_uri,
        run_id=candidate.run_id,
        published_at=datetime.now(UTC),
        gate=verdict.measured.figures,
        failed_checks=verdict.failed,
        skipped_checks=verdict.skipped,
        bits_on=verdict.measured.bits_on,
        encoded_until=verdict.measured.encoded_until,
    )


def _is_news(table: CodeTable, candidate: Candidate, current: Published | None) -> bool:
    """Return whether the version has anything new to publish (see `publish_forward`)."""
    if current is None or not current.is_of_table(table.id()):
        return True
    model_id = candidate.model_id
    highest = current.highest_versions.get(model_id)
    return highest is None or (highest < candidate.version and table.changed_since(model_id, highest))
