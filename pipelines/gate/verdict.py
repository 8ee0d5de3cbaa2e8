"""The gate before publishing: is a version of the table fit to be served?"""

from dataclasses import dataclass, replace
from datetime import datetime

from model.spec import CodeSpec
from pipelines.gate.canary import read_canary
from pipelines.gate.checks import failed_checks
from pipelines.gate.config import GateConfig
from pipelines.gate.measured import DistinctCount, Figures, Measured, measure
from pipelines.table.code_table import CodeTable, lost_files
from pipelines.table.pointer import Published, publications


@dataclass(frozen=True)
class ArchiveCounts:
    """What a night has seen of its archive."""

    objects: int
    rejected: int
    """Of them, those in the rejects table, tonight's and earlier ones."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found, and what it has against the version."""

    measured: Measured
    failed: tuple[str, ...]
    """One line for each failed check: which, and by how much. Empty: fit to be served."""


def check_version(
    table: CodeTable,
    model_id: str,
    version: int,
    code: CodeSpec,
    config: GateConfig,
    archive: ArchiveCounts | None = None,
) -> Verdict:
    """Measure a model's rows at a version, and judge them; ``code`` is what its bundle says of its codes.

    They are compared with the last publication of the same model, as another model has other bits. Without
    ``archive`` there is no verdict on rejects: they belong to a night, not to a version. Raises ConfigError
    on an unreadable canary set, TableError where the version isn't whole.
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
    return Verdict(replace(measured, figures=figures), failed_checks(figures, config))


def last_of_model(table: CodeTable, model_id: str) -> Published | None:
    """Return the last publication of a model, which its next version is compared with."""
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
    """Return the shares of rejects, and when the newest of them was."""
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
