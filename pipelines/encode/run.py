"""The encoding run: list, plan, encode unit by unit, pass the gate, publish."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import ray
import structlog

from model.bundle import Manifest
from pipelines import __version__
from pipelines.bundles import read_manifest, resolve_bundle
from pipelines.cluster import connected, warn_if_short
from pipelines.encode.chips import read_objects
from pipelines.encode.config import EncodeConfig
from pipelines.encode.encoder import Encoder
from pipelines.encode.metrics import NightMetrics
from pipelines.encode.plan import list_objects, plan_units
from pipelines.encode.progress import progress
from pipelines.encode.report import EncodeReport, PlanCounts, Tally, log_report, make_report, tracked_night
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.encode.usage import metered
from pipelines.errors import ConflictError, GateError
from pipelines.publish.canary import read_canary
from pipelines.publish.forward import Outcome, publish_forward
from pipelines.publish.gate import ArchiveCounts
from pipelines.storage import Store
from pipelines.table import CodeTable

log = structlog.get_logger()

_OBJECTS_PER_TASK = 16  # small enough to spread, large enough to hide a task's start
_ATTEMPTS = 4  # to remove rows while another job changes the same files
_READ_CPUS = 0.5  # reading waits for the store; and a stage with the encoder's CPUs would be fused into it


class _Night:
    """The state of one run: what it works with, and what it has counted."""

    def __init__(self, config: EncodeConfig, bundle_uri: str, manifest: Manifest) -> None:
        self.config, self.bundle_uri, self.manifest = config, bundle_uri, manifest
        self.store = Store(config.store)
        self.table = CodeTable(config.table, self.store)
        self.lineage = Lineage(
            model_id=manifest.model_id,
            run_id=f"encode-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}",
            collection=config.collection,
        )
        self.tally = Tally()


def run_encode(config: EncodeConfig) -> EncodeReport:
    """Encode what is new and publish. Needs a running Ray, or starts one on this machine.

    Raises UserError on a missing bucket, bundle or table; GateError, with the report, where the result
    isn't published.
    """
    started = time.monotonic()
    store = Store(config.store)
    store.require_bucket(config.table)
    read_canary(config.gate, store)  # a mistake there is told now, not after hours of work
    bundle_uri = resolve_bundle(config.bundle, config.tracking)
    night = _Night(config, bundle_uri, read_manifest(bundle_uri, store))
    objects = list_objects(config, store)
    if config.dry_run:
        counts = _count(night, objects)
        return make_report(
            night.lineage, night.table.uri, counts, night.tally, None, time.monotonic() - started
        )
    night.table.create()
    with tracked_night(config, night.lineage) as mlflow_run:
        counts = _count(night, objects)
        log.info("planned", objects=counts.objects, new=counts.new, model_id=night.lineage.model_id)
        with connected():
            warn_if_short(config.encoders + _READ_CPUS)
            outcome = _encode_and_publish(night, objects, counts.new)
        seconds = time.monotonic() - started
        report = make_report(night.lineage, night.table.uri, counts, night.tally, outcome, seconds)
        if mlflow_run:
            log_report(config, mlflow_run, report)
        if report.gate_failed:
            raise GateError(f"not published: {'; '.join(report.gate_failed)}", report)
    return report


def _encode_and_publish(night: _Night, objects: pa.Table, new: int) -> Outcome:
    metrics = NightMetrics(night.lineage.model_id)
    with progress(new) as advance:
        _encode_all(night, objects, metrics, advance)
    night.tally.removed = _remove_superseded(night, objects)
    outcome = publish_forward(
        night.table,
        night.table.open().version(),
        night.lineage.model_id,
        night.bundle_uri,
        night.lineage.run_id,
        night.config.gate,
        _archive_counts(night, objects),
    )
    if outcome.verdict:
        metrics.gate(outcome.verdict.measured.figures)
    return outcome


def _count(night: _Night, objects: pa.Table) -> PlanCounts:
    """Count what there is to do."""
    units = _plan(night, objects)
    new = pa.concat_tables(units) if units else objects.slice(0, 0)
    if not night.table.exists():
        return PlanCounts(len(objects), len(new), 0)
    encoded = night.table.read(night.lineage.model_id, ["uri"])
    return PlanCounts(len(objects), len(new), len(new.join(encoded, keys="uri", join_type="left semi")))


def _plan(night: _Night, objects: pa.Table) -> list[pa.Table]:
    left = objects.filter(pc.invert(pc.is_in(objects["uri"], pa.array(night.tally.failed, pa.string()))))
    done = night.table.done(night.lineage.model_id) if night.table.exists() else objects.slice(0, 0)
    return list(plan_units(left, done, night.config.objects_per_unit))


def _encode_all(
    night: _Night, objects: pa.Table, metrics: NightMetrics, advance: Callable[[int], None]
) -> None:
    """Encode unit after unit; where another run commits in between, plan again from what is left."""
    while True:
        committed = night.table.commits(night.lineage.model_id)
        units = _plan(night, objects)
        if not units:
            return
        try:
            for number, unit in enumerate(units, start=1):
                _encode_unit(night, unit, committed + number, metrics)
                advance(len(unit))
                log.info("unit done", unit=number, units=len(units), chips=night.tally.chips)
        except ConflictError as conflict:
            log.warning("planning again", reason=str(conflict))


def _encode_unit(night: _Night, unit: pa.Table, number: int, metrics: NightMetrics) -> None:
    """Encode one unit and commit it: rejects first, then codes, so that nothing is done before it is."""
    started = time.monotonic()
    result = _run_pipeline(night, unit)
    night.table.commit_rejects(result.rejects)
    metadata = _metadata(night, f"{night.lineage.model_id}/{number}")
    night.table.commit_unit(result.shards, night.lineage.model_id, number, metadata)
    seconds = time.monotonic() - started
    night.tally.add(result, seconds)
    metrics.unit_done(len(unit), result, seconds)


def _run_pipeline(night: _Night, unit: pa.Table) -> UnitResult:
    """Read and cut on CPU tasks, encode on an actor pool, write from one task."""
    config = night.config
    encoded = (
        ray.data.from_arrow(unit)
        .repartition(target_num_rows_per_block=_OBJECTS_PER_TASK)
        .map_batches(
            partial(metered, stage=partial(read_objects, bands=night.manifest.input.bands, config=config)),
            batch_size=_OBJECTS_PER_TASK,
            batch_format="pyarrow",
            num_cpus=_READ_CPUS,
        )
        .map_batches(
            Encoder,
            fn_constructor_kwargs={
                "bundle_uri": night.bundle_uri,
                "store": night.store,
                "chip_size": config.chip_size,
                "gpus": config.gpus_per_encoder,
            },
            batch_size=config.batch_size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=config.encoders),
            num_cpus=1,
            num_gpus=config.gpus_per_encoder,
        )
    )
    write = ray.remote(num_cpus=_READ_CPUS)(write_unit)
    result: UnitResult = ray.get(
        write.remote(night.table.uri, night.store, night.lineage, *encoded.to_arrow_refs())
    )
    return result


def _remove_superseded(night: _Night, objects: pa.Table) -> int:
    """Remove rows of older versions, but only where the current version is done: one of them must stand."""
    model_id = night.lineage.model_id
    current = objects.join(night.table.done(model_id), keys=["uri", "etag"], join_type="left semi")
    metadata = _metadata(night, "superseded")
    for _ in range(_ATTEMPTS):
        try:
            return night.table.remove_superseded(model_id, current, metadata)
        except ConflictError as conflict:  # another night, or jobs.maintain; the rows are found again
            log.warning("removing again", reason=str(conflict))
    return night.table.remove_superseded(model_id, current, metadata)


def _archive_counts(night: _Night, objects: pa.Table) -> ArchiveCounts:
    rejects = night.table.read_rejects(night.lineage.model_id, ["uri", "etag"])
    rejected = objects.join(rejects, keys=["uri", "etag"], join_type="left semi")
    return ArchiveCounts(len(objects), len(rejected))


def _metadata(night: _Night, unit_id: str) -> dict[str, str]:
    return {
        "run_id": night.lineage.run_id,
        "unit_id": unit_id,
        "model_id": night.lineage.model_id,
        "code_version": __version__,
    }
