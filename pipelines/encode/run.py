"""A night: list the archive, plan, encode unit by unit, pass the gate, publish."""

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import structlog

from pipelines import __version__
from pipelines.encode.config import EncodeConfig
from pipelines.encode.plan import Plan, make_plan
from pipelines.encode.progress import progress
from pipelines.encode.record import recorded
from pipelines.encode.report import EncodeReport, Tally, make_report, tell_mlflow, warn_of_uncovered
from pipelines.encode.sample import open_sample
from pipelines.encode.shards import Lineage, UnitResult
from pipelines.encode.versions import read_encoded, read_rejected, remove_versions
from pipelines.errors import ConfigError, ConflictError, GateError, TrackingError
from pipelines.gate.canary import read_canary
from pipelines.gate.forward import Outcome, publish_forward
from pipelines.gate.verdict import ArchiveCounts
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.registry.bundles import read_manifest, resolve_bundle
from pipelines.runtime.logs import run_logged
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.sources.listing import list_source
from pipelines.storage.retry import translate_store_errors
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.conflicts import Conflicts
from pipelines.table.pointer import find_pointer

if TYPE_CHECKING:
    from pipelines.encode.prometheus import (
        NightMetrics,  # ray and torch: seconds that a night without work saves
    )

log = structlog.get_logger()


@dataclass(frozen=True)
class _EncodedUnit:
    """A unit whose shards are written but not committed."""

    unit: pa.Table
    result: UnitResult
    seconds: float
    """How long reading, encoding and writing took."""

    def objects(self) -> set[tuple[str, str]]:
        """Return (uri, etag) of the objects that have chips in it."""
        without = {*self.result.failed, *self.result.rejects["uri"].to_pylist()}
        return {each for each in _objects_of(self.unit) if each[0] not in without}


def _objects_of(unit: pa.Table) -> set[tuple[str, str]]:
    return set(zip(unit["uri"].to_pylist(), unit["etag"].to_pylist(), strict=True))


class _Night:
    """The state of one night: what it works with, and what it has counted so far."""

    def __init__(
        self, config: EncodeConfig, bundle_uri: str, run_id: str, folder: Path, cluster: ExitStack
    ) -> None:
        self.config, self.bundle_uri = config, bundle_uri
        self.folder = folder  # for temporary files
        self.store = Store(config.store)
        self.manifest = read_manifest(bundle_uri, self.store)
        self.chip_specs = chip_specs_of(config, self.manifest.input)
        self.table = CodeTable(config.table, self.store)
        self.lineage = Lineage(self.manifest.model_id, run_id)
        self.listing = list_source(config, self.store, folder)
        self.tally = Tally(failed=list(self.listing.failed))
        self.known_rejects = 0
        self.conflicts = Conflicts()
        self.uncommitted: _EncodedUnit | None = None  # its commit lost a race: see `_commit_again`
        self.from_the_end = False  # whether units are taken from the end of the plan
        self._cluster = cluster
        self._metrics: NightMetrics | None = None

    def metrics(self) -> "NightMetrics":
        """Return the night's metrics. The first call connects to Ray, or starts it here."""
        from pipelines.encode.prometheus import NightMetrics
        from pipelines.encode.unit import ENCODER_CPUS, READ_CPUS
        from pipelines.runtime.cluster import connected, warn_if_short

        if self._metrics is None:
            self._cluster.enter_context(connected())
            warn_if_short(max(1, self.config.encoders) * ENCODER_CPUS + READ_CPUS)
            self._metrics = NightMetrics(self.lineage.model_id)
        return self._metrics


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
        night = _Night(config, bundle_uri, run_id, Path(folder), cluster)
        plan = _plan(night)
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
            outcome = _bring_up_to_date(night, plan)
        except Exception:
            if mlflow_failed is None:
                tell_mlflow(config, night.lineage, {}, "FAILED", started_at)
            raise
        report = _report(night, plan, outcome, started, mlflow_failed)
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
    night: _Night, plan: Plan, outcome: Outcome | None, started: float, tracking_failed: str | None
) -> EncodeReport:
    seconds = time.monotonic() - started
    warn_of_uncovered(night.tally, night.config.edges)
    report = make_report(night.lineage, night.table.uri, night.listing, plan, night.tally, outcome, seconds)
    return report.model_copy(update={"tracking_failed": tracking_failed})


def _plan(night: _Night) -> Plan:
    """Compare the archive with the table as it is now.

    Raises ConfigError if too much would be pruned, or if objects were encoded with another chip spec.
    """
    model_id, config = night.lineage.model_id, night.config
    encoded = read_encoded(night.table, model_id, night.folder)
    rejected = read_rejected(night.table, model_id, night.folder)
    plan = make_plan(
        night.listing,
        night.chip_specs,
        encoded,
        rejected,
        night.tally.failed,
        night.folder,
        prune=config.prune,
        whole=not config.covers_a_part,
        from_the_end=night.from_the_end,
    )
    vanished = plan.num_vanished or 0
    share = vanished / (vanished + night.listing.count)
    if config.prune and share > config.max_prune_share:
        raise ConfigError(
            f"stopped: {config.source} doesn't list {vanished} encoded objects any more "
            f"({share:.3f} of all), and max_prune_share is {config.max_prune_share}; "
            "check the source, or raise it for this run"
        )
    if plan.recut and not config.recut:
        uri, was, now = plan.recut
        raise ConfigError(
            f"stopped: {plan.num_recut} objects of {config.source} are encoded with another chip spec, "
            f"such as {uri}: {was}, and now {now}; "
            f"the difference is {ChipSpec.read(was).changes(ChipSpec.read(now))}. "
            "Go back to that, take another table, or encode them again with --recut"
        )
    return plan


def _bring_up_to_date(night: _Night, plan: Plan) -> Outcome:
    """Carry out the plan and publish. If another run commits in between, plan again what is left.

    Raises ConflictError if that happens many times in a row, with nothing committed in between.
    """
    while True:
        try:
            if night.uncommitted is not None:
                _commit_again(night, night.uncommitted, plan)
                plan = _plan(night)
            version = _carry_out(night, plan)
        except ConflictError as conflict:
            try:
                night.conflicts.wait(conflict, "run again when fewer jobs change this table")
            except ConflictError:
                _discard_uncommitted(night)
                raise
            plan = _plan_again(night)
        else:
            return _publish(night, version)


def _plan_again(night: _Night) -> Plan:
    """Plan what is left. If another run has committed the objects of the unit at hand, turn around.

    Otherwise both runs would encode the same units one after the other, and the slower one each for nothing.
    """
    plan = _plan(night)
    lost = night.uncommitted
    if lost is None or plan.has(lost.objects()):
        return plan
    _discard_uncommitted(night)
    night.from_the_end = not night.from_the_end
    night.tally.encoded_for_nothing += len(lost.unit)
    log.warning(
        "another run has committed objects that this one has just encoded; going on from the other end",
        objects=len(lost.unit),
        left=plan.num_new,
    )
    return _plan(night) if plan.num_new else plan


def _discard_uncommitted(night: _Night) -> None:
    if night.uncommitted is not None:
        night.table.discard(night.uncommitted.result.shards)
        night.uncommitted = None


def _commit_again(night: _Night, encoded: _EncodedUnit, plan: Plan) -> None:
    """Commit a unit whose commit lost a race, as the new plan still has its objects: see `_plan_again`."""
    night.uncommitted = None
    _commit(night, encoded, plan.encoded.commits + 1, is_last=False)


def _carry_out(night: _Night, plan: Plan) -> int:
    """Encode unit after unit, then remove old rows; return the table's version after that.

    In that version a changed object has only the chips of its present version. Raises ConflictError if
    another run has committed in the meantime, as the version's content is unknown then.
    """
    model_id, commits = night.lineage.model_id, plan.encoded.commits
    night.known_rejects = plan.num_rejected
    units = math.ceil(plan.num_new / night.config.objects_per_unit)
    with progress(plan.num_new) as advance:
        for number, unit in enumerate(plan.units(night.config.objects_per_unit), start=1):
            commits += 1
            _encode_and_commit(night, unit, commits, is_last=number == units and not plan.num_old)
            advance(len(unit))
            log.info("unit done", unit=number, units=units, chips=night.tally.chips)
    if plan.num_old:
        commits += 1
        metadata = _metadata(night, commits)
        removed = remove_versions(
            night.table, model_id, plan.encoded, plan.old, night.tally.failed, commits, metadata
        )
        night.tally.removed += removed
        commits -= not removed
    if not night.table.is_whole(model_id):
        # no commit has marked the night's end: no old rows were there, or an earlier night broke off
        commits += 1
        night.table.commit_unit([], model_id, commits, _metadata(night, commits))
    version = night.table.open().version()
    if night.table.commits(model_id, version) != commits:
        raise ConflictError(f"another run has committed to {night.table.uri} since this one planned its work")
    return version


def _encode_and_commit(night: _Night, unit: pa.Table, number: int, *, is_last: bool) -> None:
    from pipelines.encode.unit import encode_unit

    if night.table.commits(night.lineage.model_id) != number - 1:  # seen now, not after minutes of work
        raise ConflictError(f"another run has committed to {night.table.uri} since this one planned its work")
    night.metrics()  # connects to Ray
    started = time.monotonic()
    result = encode_unit(unit, night.config, night.bundle_uri, night.chip_specs, night.lineage)
    _commit(night, _EncodedUnit(unit, result, time.monotonic() - started), number, is_last=is_last)


def _commit(night: _Night, encoded: _EncodedUnit, number: int, *, is_last: bool) -> None:
    """Commit an encoded unit: its rejects first, so that no unit counts as done without them.

    Raises ConflictError, and keeps the unit for `_commit_again`.
    """
    result, started = encoded.result, time.monotonic()
    try:
        night.table.commit_rejects(result.rejects)
        night.table.commit_unit(
            result.shards, night.lineage.model_id, number, _metadata(night, number), is_last=is_last
        )
    except ConflictError:
        night.uncommitted = encoded
        raise
    night.conflicts.reset()
    seconds = encoded.seconds + time.monotonic() - started
    night.known_rejects += len(result.rejects)
    night.tally.add(result, seconds)
    night.metrics().unit_done(len(encoded.unit), result, seconds)


def _publish(night: _Night, version: int) -> Outcome:
    return publish_forward(
        night.table,
        version,
        night.lineage.model_id,
        night.manifest.network.code,
        night.bundle_uri,
        night.lineage.run_id,
        night.config.gate,
        ArchiveCounts(night.listing.count, night.known_rejects),
    )


def _metadata(night: _Night, number: int) -> dict[str, str]:
    model_id = night.lineage.model_id
    return {
        "run_id": night.lineage.run_id,
        "unit_id": f"{model_id}/{number}",
        "code_version": __version__,
    }
