"""The history of a table as a table of text."""

from pipelines.publish.run import History, Publication, PublishReport
from pipelines.runtime.text_table import TextTable


def history_table(report: PublishReport) -> TextTable | None:
    """Return a history with a row for each publication, newest first; None for any other report."""
    if not isinstance(report, History):
        return None
    return TextTable(
        header=("number", "published (UTC)", "version", "chips", "model", "why", "run", "bundle"),
        rows=[_row(publication) for publication in report.publications],
        details=("why", "run", "bundle"),
        numbers=("number", "version", "chips"),
        summary=f"publications of {report.table}: {len(report.publications)}, the served one first",
    )


def _row(publication: Publication) -> tuple[str, ...]:
    failed = ", ".join(publication.failed_checks)
    why = f"rollback to number {publication.restores}" if publication.restores else ""
    return (
        str(publication.number),
        f"{publication.published_at:%Y-%m-%d %H:%M}",
        str(publication.table_version),
        f"{publication.gate.get('chips', 0):.0f}",
        publication.model_id,
        f"forced: {failed}" if failed else why or "passed the gate",
        publication.run_id,
        publication.bundle_uri,
    )
