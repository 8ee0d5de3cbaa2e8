"""The encoding run: list, plan, encode unit by unit, pass the gate, publish."""

import math
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pyarrow as pa
import ray
import structlog
from pydantic import BaseModel, ConfigDict

from pipelines import __version__
from pipelines.bundles import read_manifest, resolve_bundle
from pipelines.cluster import connected, warn_if_short
from pipelines.encode.chips import read_objects
from pipelines.encode.config import EncodeConfig
from pipelines.encode.gate import check_gate
from pipelines.encode.plan import Plan, make_plan
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.encode.sources.listing import list_source
from pipelines.encode.versions import read_encoded, read_rejected, remove_versions
from pipelines.errors import ConfigError, ConflictError
from pipelines.pointer import Published, find_pointer, publish
from pipelines.storage import Store
from pipelines.table import CodeTable

log = structlog.get_logger()

_OBJECTS_PER_TASK = 16  # small enough to spread, large enough to hide a task's start
_READ_CPUS = 0.5  # reading waits for the store; and a stage with the encoder's CPUs would be fused into it


class EncodeReport(BaseModel):
    """What an encoding run did."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    model_id: str
    table: str
    table_version: int | None
    """The version that is published now; None after a dry run."""
    objects: int
    """Objects of the archive."""
    new: int
    """Of them, not encoded or rejected before."""
    chips: int
    """Chips encoded by this run."""
    removed: int
    """Rows of older versions of objects, removed by this run."""
    rejects: dict[str, int]
    """Objects rejected by this run, by reason."""
    failed: list[str]
    """Objects that couldn't be read this time; the next run tries them again."""
    seconds: float


class _Night:
    """The state of one run: what it works with, and what it has counted."""

    def __init__(self, config: EncodeConfig, bundle_uri: str, folder: Path) -> None:
        self.config, self.bundle_uri = config, bundle_uri
        self.folder = folder  # for what is spilled
        self.store = Store(config.store)
        self.manifest = read_manifest(bundle_uri, self.store)
        self.table = CodeTable(config.table, self.store)
        self.lineage = Lineage(
            model_id=self.manifest.model_id,
            run_id=f"encode-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}",
        )
        self.listing = list_source(config, self.store, folder)
        self.chips = 0
        self.removed = 0
        self.rejects: Counter[str] = Counter()
        self.known_rejects = 0
        self.failed: list[str] = []


def run_encode(config: EncodeConfig) -> EncodeReport:
    """Encode what is new and publish. Needs a running Ray, or starts one on this machine if there is work.

    Raises UserError on a missing bucket, bundle or table; GateError where the result isn't published.
    """
    started = time.monotonic()
    Store(config.store).require_bucket(config.table)
    bundle_uri = resolve_bundle(config.bundle, config.tracking)
    with TemporaryDirectory(prefix="scenehash-") as folder:  # where is TMPDIR's to say
        night = _Night(config, bundle_uri, Path(folder))
        plan = _plan(night)
        log.info("planned", objects=night.listing.count, new=plan.num_new, model_id=night.lineage.model_id)
        version = None if config.dry_run else _bring_up_to_date(night, plan)
    return EncodeReport(
        run_id=night.lineage.run_id,
        model_id=night.lineage.model_id,
        table=night.table.uri,
        table_version=version,
        objects=night.listing.count,
        new=plan.num_new,
        chips=night.chips,
        removed=night.removed,
        rejects=dict(night.rejects),
        failed=night.failed,
        seconds=round(time.monotonic() - started, 1),
    )


def _plan(night: _Night) -> Plan:
    """Compare the archive with the table as it is now. Raises ConfigError where too much would be pruned."""
    model_id, config = night.lineage.model_id, night.config
    encoded = read_encoded(night.table, model_id, night.folder)
    rejected = read_rejected(night.table, model_id, night.folder)
    plan = make_plan(night.listing, encoded, rejected, night.failed, night.folder, prune=config.prune)
    share = plan.num_vanished / (plan.num_vanished + night.listing.count)
    if share > config.max_prune_share:
        raise ConfigError(
            f"stopped: {config.source} doesn't list {plan.num_vanished} encoded objects any more "
            f"({share:.3f} of all), and max_prune_share is {config.max_prune_share}; "
            "check the source, or raise it for this run"
        )
    return plan


def _bring_up_to_date(night: _Night, plan: Plan) -> int:
    """Do what is planned and publish; where another run commits in between, plan again from what is left."""
    night.table.create()
    while True:
        try:
            version = _carry_out(night, plan)
        except ConflictError as conflict:
            log.warning("planning again", reason=str(conflict))
            plan = _plan(night)
        else:
            return _publish(night, version)


def _carry_out(night: _Night, plan: Plan) -> int:
    """Encode unit after unit, then remove what is old; return the table's version then.

    In that version an object that has changed stands once, with the chips that the archive has now. Raises
    ConflictError where another run has committed meanwhile: no telling then what stands in it.
    """
    model_id, commits = night.lineage.model_id, plan.encoded.commits
    night.known_rejects = plan.num_rejected
    if plan.num_new:
        with connected():
            warn_if_short(night.config.encoders + _READ_CPUS)
            units = math.ceil(plan.num_new / night.config.objects_per_unit)
            for number, unit in enumerate(plan.units(night.config.objects_per_unit), start=1):
                commits += 1
                _encode_unit(night, unit, commits)
                log.info("unit done", unit=number, units=units, chips=night.chips)
    if plan.num_old:
        metadata = _metadata(night, f"{model_id}/{commits + 1}")
        removed = remove_versions(
            night.table, model_id, plan.encoded, plan.old, night.failed, commits + 1, metadata
        )
        night.removed += removed
        commits += bool(removed)
    version = night.table.open().version()
    if night.table.commits(model_id, version) != commits:
        raise ConflictError(f"another run has committed to {night.table.uri} since this one planned its work")
    return version


def _encode_unit(night: _Night, unit: pa.Table, number: int) -> None:
    """Encode one unit and commit it: rejects first, then codes, so that nothing is done before it is."""
    result = _run_pipeline(night, unit)
    night.table.commit_rejects(result.rejects)
    metadata = _metadata(night, f"{night.lineage.model_id}/{number}")
    night.table.commit_unit(result.shards, night.lineage.model_id, number, metadata)
    night.chips += sum(shard.rows for shard in result.shards)
    night.rejects.update(result.rejects["reason"].to_pylist())
    night.known_rejects += len(result.rejects)
    night.failed += result.failed


def _run_pipeline(night: _Night, unit: pa.Table) -> UnitResult:
    """Read and cut on CPU tasks, encode on an actor pool, write from one task."""
    from pipelines.encode.encoder import Encoder  # torch: seconds that a night without work saves

    config = night.config
    encoded = (
        ray.data.from_arrow(unit)
        .repartition(target_num_rows_per_block=_OBJECTS_PER_TASK)
        .map_batches(
            partial(read_objects, bands=night.manifest.input.bands, config=config),
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


def _publish(night: _Night, version: int) -> int:
    """Check the gate and move the pointer forward, unless it stands there already; return its version."""
    model_id, gate = night.lineage.model_id, None
    while True:
        published = find_pointer(night.table.uri, night.store)
        if published and published.model_id == model_id and published.table_version >= version:
            return published.table_version
        gate = gate or _gate(night, version)
        news = Published(
            table_version=version,
            model_id=model_id,
            bundle_uri=night.bundle_uri,
            run_id=night.lineage.run_id,
            published_at=datetime.now(UTC),
            gate=gate,
        )
        try:
            publish(night.table.uri, night.store, news)
        except ConflictError as conflict:
            log.warning("looking again", reason=str(conflict))


def _gate(night: _Night, version: int) -> dict[str, float]:
    codes = night.table.read(night.lineage.model_id, ["code"], version)["code"]
    return check_gate(codes, night.listing.count, night.known_rejects, night.config.max_reject_share)


def _metadata(night: _Night, unit_id: str) -> dict[str, str]:
    return {"run_id": night.lineage.run_id, "unit_id": unit_id, "code_version": __version__}
