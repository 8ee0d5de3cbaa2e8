"""Publishing by hand: publishes a version, rolls back, or lists the publications."""

from datetime import UTC, datetime
from uuid import uuid4

import structlog
from pydantic import BaseModel, ConfigDict

from pipelines.errors import GateError, TableError
from pipelines.gate.forward import Candidate, publication
from pipelines.gate.verdict import check_version
from pipelines.publish.config import PublishConfig
from pipelines.registry.bundles import read_manifest, resolve_bundle
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import (
    Published,
    find_pointer,
    publications,
    publish,
    read_pointer,
    read_publication,
)

log = structlog.get_logger()


class Publication(BaseModel):
    """One publication: which version was published when, by which run, with which figures."""

    model_config = ConfigDict(frozen=True)

    number: int
    table_version: int
    model_id: str
    bundle_uri: str
    run_id: str
    published_at: datetime
    restores: int | None
    """In a rollback: the number of the publication that it went back to."""
    gate: dict[str, float]
    failed_checks: tuple[str, ...]
    """The checks of the gate that failed; not empty if it was published by force."""
    skipped_checks: tuple[str, ...] = ()
    """The checks that the gate couldn't make, and why."""

    @classmethod
    def of(cls, published: Published) -> "Publication":
        """Return the fields of a pointer, except those that only the next gate needs."""
        return cls(**{name: getattr(published, name) for name in cls.model_fields})


class PublishReport(BaseModel):
    """The publication that was made."""

    model_config = ConfigDict(frozen=True)

    table: str
    publications: list[Publication]
    """Newest first; the first is the one that is served."""
    refused: Publication | None = None
    """What would have been published if the gate hadn't failed."""


class History(PublishReport):
    """All publications of a table."""


def run_publish(config: PublishConfig) -> PublishReport:
    """Do what the config asks for; report what is published then.

    Raises TableError if there is no such version or publication, or if a version lies between the commits of
    a night; GateError if the gate fails and isn't overridden; ConflictError if another job publishes at the
    same time.
    """
    table = CodeTable(config.table, Store(config.store))
    table.store.require_bucket(table.uri)
    table.open()  # a table that isn't there has no history either
    if config.history:
        found = [Publication.of(published) for published in publications(table.uri, table.store)]
        return History(table=table.uri, publications=found)
    run_id = f"publish-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"
    news = _roll_back(table, run_id) if config.rollback else _publish_version(table, config, run_id)
    log.info("published", version=news.table_version, model_id=news.model_id, number=news.number)
    return PublishReport(table=table.uri, publications=[Publication.of(news)])


def _publish_version(table: CodeTable, config: PublishConfig, run_id: str) -> Published:
    version = config.version
    if version is None:
        raise ValueError("the config asks for no version")
    current = find_pointer(table.uri, table.store)
    bundle_uri = config.bundle or (current.bundle_uri if current else None)
    if bundle_uri is None:
        raise TableError(f"nothing is published at {table.uri} yet; name the model's bundle with --bundle")
    bundle_uri = resolve_bundle(bundle_uri, config.tracking)
    manifest = read_manifest(bundle_uri, table.store)
    model_id = manifest.model_id
    if version not in (there := table.versions()):
        raise TableError(
            f"{table.uri} has no version {version}; there are {there.start} to {there.stop - 1}, "
            f"and published were {', '.join(_published_versions(table)) or 'none'} (--history)"
        )
    if not table.is_whole(model_id, version):
        raise TableError(
            f"version {version} of {table.uri} stands between the commits of a night: objects may be "
            "missing, or stand there twice; run jobs.nightly, which ends what that night began and publishes "
            "it, or take a version of --history"
        )
    verdict = check_version(table, model_id, version, manifest.network.code, config.gate)
    news = publication(table, Candidate(version, model_id, bundle_uri, run_id), verdict)
    if not news.gate["chips"]:
        raise TableError(f"version {version} of {table.uri} has no chips of {model_id}; see --history")
    if verdict.failed and not config.force:
        report = PublishReport(table=table.uri, publications=[], refused=Publication.of(news))
        raise GateError(
            f"not published: {'; '.join(verdict.failed)}; --force publishes it nevertheless", report
        )
    return publish(table.uri, table.store, news, current)


def _published_versions(table: CodeTable) -> list[str]:
    found = {published.table_version for published in publications(table.uri, table.store)}
    return [str(version) for version in sorted(found)]


def _roll_back(table: CodeTable, run_id: str) -> Published:
    """Publish again what was published before. Two rollbacks go back two publications."""
    current = read_pointer(table.uri, table.store)
    number, table_id = current.restores or current.number, table.id()
    while number > 1:
        number -= 1
        before = read_publication(table.uri, table.store, number)
        if not before.is_of_table(table_id):
            break  # of an earlier table at the same URI
        number = before.restores or number
        if (before.table_version, before.model_id) != (current.table_version, current.model_id):
            table.check_whole(before.model_id, before.table_version)
            again = {"run_id": run_id, "published_at": datetime.now(UTC), "restores": number}
            return publish(table.uri, table.store, before.model_copy(update=again), current)
    raise TableError(f"nothing was published at {table.uri} before version {current.table_version}")
