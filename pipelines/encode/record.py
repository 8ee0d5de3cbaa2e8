"""What a night leaves behind of itself, however it ends: `pipelines.table.night_record`."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from pipelines.encode.config import EncodeConfig
from pipelines.encode.report import EncodeReport
from pipelines.errors import GateError, StorageError
from pipelines.storage.store import Store
from pipelines.table.night_record import NightRecord, Outcome, write_night

log = structlog.get_logger()


def recorded(config: EncodeConfig, run_id: str, run: Callable[[], EncodeReport]) -> EncodeReport:
    """Run a night and put down how it ended; return its report, raise what it raises.

    A night that is killed leaves no record: that it is late is all that can be told of it.
    """
    started_at = datetime.now(UTC)

    def put_down(outcome: Outcome, report: EncodeReport | None, reason: str = "") -> None:
        log.info("night ended", outcome=outcome, reason=reason)
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
        except StorageError as error:  # what the night has done stands all the same
            log.warning("its record isn't written", reason=str(error))

    try:
        report = run()
    except GateError as failure:
        held_back = failure.report if isinstance(failure.report, EncodeReport) else None
        put_down("gate_failed", held_back, str(failure))
        raise
    except Exception as error:
        put_down("broken_off", None, f"{type(error).__name__}: {error}")
        raise
    put_down("published" if report.gate else "nothing_new", report)
    return report
