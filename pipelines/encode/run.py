"""The encoding run: list, plan, encode unit by unit, pass the gate, publish."""

import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import ray
import structlog
from pydantic import BaseModel, ConfigDict

from model.bundle import Manifest
from pipelines import __version__
from pipelines.bundles import read_manifest, resolve_bundle
from pipelines.cluster import connected, warn_if_short
from pipelines.encode.chips import pixel_spec, read_objects
from pipelines.encode.config import EncodeConfig
from pipelines.encode.encoder import Encoder
from pipelines.encode.gate import check_gate
from pipelines.encode.plan import list_objects, plan_units
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.errors import ConflictError
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

    def __init__(self, config: EncodeConfig, bundle_uri: str, manifest: Manifest) -> None:
        self.config, self.bundle_uri, self.manifest = config, bundle_uri, manifest
        self.pixels = pixel_spec(manifest.input, config.pixels)
        self.store = Store(config.store)
        self.table = CodeTable(config.table, self.store)
        self.lineage = Lineage(
            model_id=manifest.model_id,
            run_id=f"encode-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}",
            collection=config.collection,
        )
        self.chips = 0
        self.rejects: Counter[str] = Counter()
        self.failed: list[str] = []


def run_encode(config: EncodeConfig) -> EncodeReport:
    """Encode what is new and publish. Needs a running Ray, or starts one on this machine.

    Raises UserError on a missing bucket, bundle or table, or pixels that don't fit the bundle;
    GateError where the result isn't published.
    """
    started = time.monotonic()
    store = Store(config.store)
    store.require_bucket(config.table)
    bundle_uri = resolve_bundle(config.bundle, config.tracking)
    night = _Night(config, bundle_uri, read_manifest(bundle_uri, store))
    objects = list_objects(config, store)
    if not config.dry_run:
        night.table.create()
    todo = sum(len(unit) for unit in _plan(night, objects))
    log.info("planned", objects=len(objects), new=todo, model_id=night.lineage.model_id)
    version, removed = None, 0
    if not config.dry_run:
        with connected():
            warn_if_short(config.encoders + _READ_CPUS)
            _encode_all(night, objects)
        removed = _remove_superseded(night, objects)
        version = _publish(night, objects)
    return EncodeReport(
        run_id=night.lineage.run_id,
        model_id=night.lineage.model_id,
        table=night.table.uri,
        table_version=version,
        objects=len(objects),
        new=todo,
        chips=night.chips,
        removed=removed,
        rejects=dict(night.rejects),
        failed=night.failed,
        seconds=round(time.monotonic() - started, 1),
    )


def _plan(night: _Night, objects: pa.Table) -> list[pa.Table]:
    left = objects.filter(pc.invert(pc.is_in(objects["uri"], pa.array(night.failed, pa.string()))))
    done = night.table.done(night.lineage.model_id) if night.table.exists() else objects.slice(0, 0)
    return list(plan_units(left, done, night.config.objects_per_unit))


def _encode_all(night: _Night, objects: pa.Table) -> None:
    """Encode unit after unit; where another run commits in between, plan again from what is left."""
    while True:
        committed = night.table.commits(night.lineage.model_id)
        units = _plan(night, objects)
        if not units:
            return
        try:
            for number, unit in enumerate(units, start=1):
                _encode_unit(night, unit, committed + number)
                log.info("unit done", unit=number, units=len(units), chips=night.chips)
        except ConflictError as conflict:
            log.warning("planning again", reason=str(conflict))


def _encode_unit(night: _Night, unit: pa.Table, number: int) -> None:
    """Encode one unit and commit it: rejects first, then codes, so that nothing is done before it is."""
    result = _run_pipeline(night, unit)
    night.table.commit_rejects(result.rejects)
    metadata = _metadata(night, f"{night.lineage.model_id}/{number}")
    night.table.commit_unit(result.shards, night.lineage.model_id, number, metadata)
    night.chips += sum(shard.rows for shard in result.shards)
    night.rejects.update(result.rejects["reason"].to_pylist())
    night.failed += result.failed


def _run_pipeline(night: _Night, unit: pa.Table) -> UnitResult:
    """Read and cut on CPU tasks, encode on an actor pool, write from one task."""
    config = night.config
    encoded = (
        ray.data.from_arrow(unit)
        .repartition(target_num_rows_per_block=_OBJECTS_PER_TASK)
        .map_batches(
            partial(read_objects, pixels=night.pixels, config=config),
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


def _remove_superseded(night: _Night, objects: pa.Table) -> int:
    """Remove rows of older versions, but only where the current version is done: one of them must stand."""
    model_id = night.lineage.model_id
    current = objects.join(night.table.done(model_id), keys=["uri", "etag"], join_type="left semi")
    return night.table.remove_superseded(model_id, current, _metadata(night, "superseded"))


def _publish(night: _Night, objects: pa.Table) -> int:
    """Check the gate and move the pointer forward, unless it stands there already; return its version."""
    version, model_id = night.table.open().version(), night.lineage.model_id
    gate = _gate(night, objects, version)
    while True:
        published = find_pointer(night.table.uri, night.store)
        if published and published.model_id == model_id and published.table_version >= version:
            return published.table_version
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


def _gate(night: _Night, objects: pa.Table, version: int) -> dict[str, float]:
    model_id = night.lineage.model_id
    rejects = night.table.read_rejects(model_id, ["uri", "etag"])
    rejected = len(objects.join(rejects, keys=["uri", "etag"], join_type="left semi"))
    codes = night.table.read(model_id, ["code"], version)["code"]
    return check_gate(codes, len(objects), rejected, night.config.max_reject_share)


def _metadata(night: _Night, unit_id: str) -> dict[str, str]:
    return {"run_id": night.lineage.run_id, "unit_id": unit_id, "code_version": __version__}
