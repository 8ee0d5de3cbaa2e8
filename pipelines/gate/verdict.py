"""The gate before publishing: is a version of the table fit to be served?"""

from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from model.spec import CodeSpec
from pipelines.gate.canary import read_canary
from pipelines.gate.checks import failed_checks, skipped_checks
from pipelines.gate.config import GateConfig
from pipelines.gate.measured import DistinctCount, Figures, Measured, measure
from pipelines.table.code_table import CodeTable, lost_files
from pipelines.table.pointer import Published, publications

log = structlog.get_logger()


@dataclass(frozen=True)
class ArchiveCounts:
    """How many objects of its archive a night has listed."""

    objects: int
    rejected: int
    """How many of them are in the rejects table, from this night or an earlier one."""


@dataclass(frozen=True)
class Verdict:
    """The gate's figures of a version, and the checks that it fails."""

    measured: Measured
    failed: tuple[str, ...]
    """A line for each failed check: which, and by how much. Empty: the version passes."""
    skipped: tuple[str, ...] = ()
    """A line for each reason why checks couldn't be made: which checks, and why."""


def check_version(
    table: CodeTable,
    model_id: str,
    version: int,
    code: CodeSpec,
    config: GateConfig,
    archive: ArchiveCounts | None = None,
) -> Verdict:
    """Measure a model's rows at a version, and judge them; ``code`` says what parts the model's codes have.

    They are compared with the last publication of the same model only, as the bits of another model mean
    something else. Without ``archive`` rejects aren't judged: they belong to a night, not to a version.
    Raises ConfigError if the canary set can't be read, TableError if files of the version are missing.
    """
    last = last_of_model(table, model_id)
    canary = read_canary(config, table.store)
    try:
        measured = measure(table, model_id, version, code, last, canary)
    except (FileNotFoundError, PermissionError) as error:
        raise lost_files(table.uri, version, error) from error
    figures = dict(measured.figures)
    if canary:
        precision = canary.precision(config.canary_k, code)
        figures |= {"canaries": len(canary.codes), "canary_precision": precision}
    if archive:
        rejects, until = _reject_figures(table, model_id, archive, last, figures)
        figures |= rejects
        until = max((time for time in (measured.encoded_until, until) if time), default=None)
        measured = replace(measured, encoded_until=until)
    skipped = skipped_checks(figures, config)
    if skipped:
        log.warning("the gate couldn't make all its checks", version=version, skipped=skipped)
    return Verdict(replace(measured, figures=figures), failed_checks(figures, config), skipped)


def last_of_model(table: CodeTable, model_id: str) -> Published | None:
    """Return the last publication of a model in this table; None if there is none."""
    table_id = table.id()
    for published in publications(table.uri, table.store):
        if model_id not in published.highest_versions or not published.is_of_table(table_id):
            return None
        if published.model_id == model_id:
            return published
    return None


def _reject_figures(
    table: CodeTable, model_id: str, archive: ArchiveCounts, last: Published | None, figures: Figures
) -> tuple[Figures, datetime | None]:
    """Return the shares of rejects, and the time of the newest one; None if there is none."""
    rejects = {"archive_objects": float(archive.objects), "reject_share": archive.rejected / archive.objects}
    since = last.encoded_until if last else None
    uris, until = DistinctCount(), since
    for batch in table.stream_rejects(model_id, ["uri", "at"], since):
        if len(batch):
            uris.add(batch["uri"])
            newest = max(batch["at"].to_pylist())
            until = newest if until is None else max(until, newest)
    seen = uris.count() + figures.get("new_objects", 0)
    if last and seen:
        rejects |= {"new_seen": seen, "new_reject_share": uris.count() / seen}
    return rejects, until
