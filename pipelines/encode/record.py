"""Writes the record of a night, however it ends (`pipelines.table.night_record`)."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from pipelines.encode.config import EncodeConfig
from pipelines.encode.report import EncodeReport
from pipelines.errors import GateError, ScenehashError, StorageError, UserError
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.night_record import NightRecord, Outcome, write_night

log = structlog.get_logger()


def recorded(config: EncodeConfig, run_id: str, run: Callable[[], EncodeReport]) -> EncodeReport:
    """Run a night and record how it ended; return what it returns and raise what it raises.

    A night that is killed leaves no record. Monitoring then sees only that the last record is too old. A
    night that ends with a mistake of the user's leaves none if there is no table yet: it makes no folder.
    """
    started_at = datetime.now(UTC)

    def write_record(outcome: Outcome, report: EncodeReport | None, reason: str = "") -> None:
        # a job prints the reason itself, as its last line
        log.info("night ended", outcome=outcome, reason=reason, on_screen=not reason)
        night = NightRecord(
            run_id=run_id,
            started_at=started_at,
            ended_at=datetime.now(UTC),
            outcome=outcome,
            reason=reason,
            figures=report.numbers() if report else {},
        )
        try:
            write_night(config.table, Store(config.store), night)
        except StorageError as error:  # not a reason to fail: what the night has done is committed
            log.warning("the night's record isn't written", reason=str(error))

    try:
        report = run()
    except GateError as failure:
        held_back = failure.report if isinstance(failure.report, EncodeReport) else None
        write_record("gate_failed", held_back, str(failure))
        raise
    except Exception as error:
        if not isinstance(error, UserError) or _has_table(config):
            write_record("broken_off", None, f"{type(error).__name__}: {error}")
        raise
    write_record("published" if report.gate else "nothing_new", report)
    return report


def _has_table(config: EncodeConfig) -> bool:
    with contextlib.suppress(ScenehashError):
        return CodeTable(config.table, Store(config.store)).exists()
    return False
