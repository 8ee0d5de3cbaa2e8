"""A night: list the archive, plan, encode what is new, pass the gate, publish."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import structlog

from pipelines.encode.carry_out import bring_up_to_date
from pipelines.encode.config import EncodeConfig
from pipelines.encode.night import Night, plan_of
from pipelines.encode.plan import Plan
from pipelines.encode.record import recorded
from pipelines.encode.report import EncodeReport, make_report, tell_mlflow, warn_of_uncovered
from pipelines.encode.sample import open_sample
from pipelines.errors import GateError, TrackingError
from pipelines.gate.canary import read_canary
from pipelines.gate.forward import PublishResult
from pipelines.registry.bundles import resolve_bundle
from pipelines.runtime.logs import run_logged
from pipelines.storage.retry import translate_store_errors
from pipelines.storage.store import Store
from pipelines.table.pointer import find_pointer

log = structlog.get_logger()


def run_encode(config: EncodeConfig) -> EncodeReport:
    """Encode what is new and publish it. If there is work, it runs on a running Ray, or starts one here.

    Raises UserError if a bucket, bundle or table is missing, or the pixels don't fit the bundle; GateError,
    with the report, if the result isn't published; StoreDownError if a store is down for too long;
    EncodingError if the cluster fails. What was committed by then stays, and the next night continues.
    """
    run_id = f"encode-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"

    def run() -> EncodeReport:
        # Arrow and Delta read the table in many places, and may fail in each
        with translate_store_errors(config.table, "brought up to date"):
            return _run(config, run_id)

    with run_logged(run_id):
        return run() if config.dry_run else recorded(config, run_id, run)


def _run(config: EncodeConfig, run_id: str) -> EncodeReport:
    started, started_at = time.monotonic(), datetime.now(UTC)
    store = Store(config.store)
    store.require_bucket(config.table)
    read_canary(config.gate, store)  # a mistake there shows now, not after hours of work
    bundle_uri, mlflow_failed = _bundle_of(config, store)
    with TemporaryDirectory(prefix="scenehash-") as folder, ExitStack() as cluster:  # below TMPDIR
        night = Night(config, bundle_uri, run_id, Path(folder), cluster)
        plan = plan_of(night)
        log.info("planned", objects=night.listing.count, new=plan.num_new, model_id=night.lineage.model_id)
        if plan.num_vanished and not config.prune:
            log.warning(
                "the source doesn't list all encoded objects any more; their chips stay",
                objects=plan.num_vanished,
                examples=plan.vanished,
                advice="--prune removes them",
            )
        if config.dry_run:
            open_sample(plan, night.chip_specs, night.store, night.tally)
            return _report(night, plan, None, started, mlflow_failed)
        night.table.create()
        try:
            result = bring_up_to_date(night, plan)
        except Exception:
            if mlflow_failed is None:
                tell_mlflow(config, night.lineage, {}, "FAILED", started_at)
            raise
        report = _report(night, plan, result, started, mlflow_failed)
        status = "FAILED" if report.gate_failed else "FINISHED"
        if mlflow_failed is None:  # else MLflow is down, and a second attempt would only wait again
            failed = tell_mlflow(config, night.lineage, report.numbers(), status, started_at)
            report = report.model_copy(update={"tracking_failed": failed})
        if report.gate_failed:
            raise GateError(f"not published: {'; '.join(report.gate_failed)}", report)
    return report


def _bundle_of(config: EncodeConfig, store: Store) -> tuple[str, str | None]:
    """Return the bundle's URI, and None; if MLflow can't resolve it, the published bundle's, and the reason.

    Raises TrackingError if MLflow can't resolve it and no version of the same model is published.
    """
    try:
        return resolve_bundle(config.bundle, config.tracking), None
    except TrackingError as error:
        published = find_pointer(config.table, store)
        name, _, alias = config.bundle.removeprefix("models:/").partition("@")
        if not alias or published is None or not published.model_id.startswith(f"{name}@"):
            raise
        log.error(  # noqa: TRY400 - one line says it
            "MLflow isn't available: the published bundle is used",
            bundle=published.bundle_uri,
            reason=str(error),
        )
        return published.bundle_uri, f"{error}; took the published bundle {published.bundle_uri}"


def _report(
    night: Night, plan: Plan, result: PublishResult | None, started: float, tracking_failed: str | None
) -> EncodeReport:
    warn_of_uncovered(night.tally, night.config.edges)
    report = make_report(night.lineage, night.table.uri, night.listing, plan, night.tally, result)
    seconds = round(time.monotonic() - started, 1)
    return report.model_copy(update={"seconds": seconds, "tracking_failed": tracking_failed})
