"""The cluster's portion of a night: one Ray Data execution for all its units, and the actor that writes them.

portions (one task) -> read (tasks) -> Encoder (a pool of actors) -> parcels, in order -> Writer (one actor)
"""

import time
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError

from pipelines.encode.config import EncodeConfig
from pipelines.encode.encoder import Encoder
from pipelines.encode.pace import FIRST_OBJECTS, Pacer, next_size, sizes
from pipelines.encode.parcels import Label, label_of, portions, read_portion, rows_of
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.errors import EncodingError, ScenehashError
from pipelines.runtime.logs import log_in_worker
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.store import Store

READ_CPUS = 0.5
ENCODER_CPUS = 0.45
WRITER_CPUS = 0.05
"""CPUs of a task that reads, of an actor that encodes on one thread, and of the one that writes: together
they fill one CPU. Ray Data would fuse two stages with the same resources into one."""
CPUS_BESIDE = READ_CPUS + WRITER_CPUS
"""CPUs that a night needs beside its encoders."""

_THREADS_ON_GPU = 2  # of an encoder: one batch is copied to the GPU while the other one is encoded
_OBJECTS_PER_ENCODER = 16  # at least; fewer objects don't need one more
_AHEAD_PER_CPU = 4  # portions under way: twice the tasks that run
_LOOKED_AT = 5.0  # seconds after which the cluster's size is looked at again


class RayExecution:
    """Reads and encodes a plan's units, from the first to the last one. Needs a running Ray."""

    def __init__(
        self,
        config: EncodeConfig,
        bundle_uri: str,
        chip_specs: ChipSpecs,
        lineage: Lineage,
        plan: Path,
        objects: int,
    ) -> None:
        """Start it. ``plan`` is the file of so many objects; it must stay as it is."""
        here = ray.get_runtime_context().get_node_id()
        store = Store(config.store)
        of_writer: dict[str, Any] = {"num_cpus": WRITER_CPUS, "concurrency_groups": {"look": 1}}
        # if its node is lost, it is given its parcels again
        of_writer |= {"max_restarts": -1, "max_task_retries": -1}
        self._writer: Any = ray.remote(**of_writer)(Writer).remote(config.table.rstrip("/"), store, lineage)
        self._pacer: Any = ray.remote(num_cpus=0, label_selector={"ray.io/node-id": here})(Pacer).remote()
        self._pace = _Pace(self._pacer)
        with ray.data.DataContext.current(_context()):
            self._dataset = (
                ray.data.from_arrow(pa.table({"plan": [str(plan)]}))
                .map_batches(
                    partial(_portions, objects_per_unit=config.objects_per_unit, pacer=self._pacer),
                    batch_size=1,
                    batch_format="pyarrow",
                    num_cpus=0,
                    label_selector={"ray.io/node-id": here},  # where the file is
                )
                .map_batches(
                    partial(
                        _read,
                        chip_specs=chip_specs,
                        store=store,
                        batch_size=config.batch_size,
                        run_id=lineage.run_id,
                    ),
                    batch_size=1,
                    batch_format="pyarrow",
                    num_cpus=READ_CPUS,
                )
                .map_batches(
                    Encoder,
                    fn_constructor_kwargs={
                        "bundle_uri": bundle_uri,
                        "store": store,
                        "chip_size": config.chip_size,
                        "batch_size": config.batch_size,
                        "gpus": config.gpus_per_encoder,
                        "run_id": lineage.run_id,
                    },
                    batch_size=1,
                    batch_format="pyarrow",
                    compute=ray.data.ActorPoolStrategy(
                        size=_count_encoders(config, objects),
                        max_concurrent_calls_per_actor=_THREADS_ON_GPU if config.gpus_per_encoder else 1,
                        enable_true_multi_threading=bool(config.gpus_per_encoder),
                    ),
                    num_cpus=ENCODER_CPUS,
                    num_gpus=config.gpus_per_encoder or None,
                )
            )

    def parcels(self) -> Generator[tuple[Label, Any]]:
        """Yield what each parcel says of itself and an ObjectRef of it, in order.

        Closing the generator ends the execution.

        Raises a ScenehashError of a task as it is, and EncodingError for any other failure in Ray.
        """
        try:
            for bundle in self._dataset.iter_internal_ref_bundles():
                for entry in bundle.blocks:
                    label = ray.get(self._writer.look.remote(entry.ref))
                    if label is not None:
                        self._pace.taken(label)
                        yield label, entry.ref
        except RayError as error:
            raise _plain(error) from error

    def write(self, unit: pa.Table, parcels: Sequence[Any]) -> Any:  # noqa: ANN401
        """Start to write a unit's shards; return an ObjectRef of its `UnitResult`."""
        return self._writer.write.remote(unit.select(["uri"]), list(parcels))

    def is_written(self, writing: Any) -> bool:  # noqa: ANN401
        """Return whether what `write` has started has ended."""
        return bool(ray.wait([writing], timeout=0)[0])

    def written(self, writing: Any) -> UnitResult:  # noqa: ANN401
        """Wait for what `write` has started. Raises like `parcels`."""
        try:
            result: UnitResult = ray.get(writing)
        except RayError as error:
            raise _plain(error) from error
        return result

    def close(self) -> None:
        """End all that is still at work."""
        for actor in (self._pacer, self._writer):
            ray.kill(actor)


def _context() -> ray.data.DataContext:
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True  # units come one after the other
    context.target_max_block_size = 1  # a row is a block
    context.execution_no_progress_timeout_s = -1  # none: new nodes may be long in coming
    context.print_on_execution_start = False
    return context


def _count_encoders(config: EncodeConfig, objects: int) -> int:
    """Return how many actors encode so many objects."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    per_encoder = config.gpus_per_encoder
    fit = resources.get("GPU", 1) / per_encoder if per_encoder else resources.get("CPU", 1)
    return max(1, min(config.encoders or int(fit), -(-objects // _OBJECTS_PER_ENCODER)))


class _Pace:
    """Allows as many portions beyond those taken as fit the cluster, of a size that takes seconds."""

    def __init__(self, pacer: Any) -> None:  # noqa: ANN401
        self._pacer = pacer
        self._taken, self._size, self._encode_seconds = 0, FIRST_OBJECTS, 0.0
        self._ahead, self._next_look = 0, 0.0
        self._allow()

    def taken(self, label: Label) -> None:
        self._encode_seconds += label.encode_seconds
        if label.objects:
            slower = max(label.read_seconds, self._encode_seconds)
            self._size = next_size(self._size, slower / label.objects)
            self._taken, self._encode_seconds = self._taken + 1, 0.0
            self._allow()

    def _allow(self) -> None:
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOKED_AT
            cpus = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
            self._ahead = max(_AHEAD_PER_CPU, int(_AHEAD_PER_CPU * cpus))
        self._pacer.allow.remote(self._taken + self._ahead, self._size)


class Writer:
    """The actor that writes units, one at a time, and meanwhile looks at parcels as they come."""

    def __init__(self, table_uri: str, store: Store, lineage: Lineage) -> None:
        log_in_worker(lineage.run_id)
        self._write_unit = partial(write_unit, table_uri, store, lineage)

    @ray.method(concurrency_group="look")
    def look(self, parcel: pa.Table) -> Label | None:
        """Return what a parcel says of itself; None of an empty block, which a stage without rows yields."""
        return label_of(parcel) if len(parcel) else None

    def write(self, unit: pa.Table, parcels: "list[ray.ObjectRef[pa.Table]]") -> UnitResult:
        """Write a unit's rows as shards; one parcel is fetched at a time."""
        return self._write_unit(unit, (rows_of(ray.get(parcel)) for parcel in parcels))


def _portions(plan: pa.Table, objects_per_unit: int, pacer: Any) -> Iterator[pa.Table]:  # noqa: ANN401
    yield from portions(Path(plan["plan"][0].as_py()), objects_per_unit, sizes(pacer))


def _read(
    portion: pa.Table, chip_specs: ChipSpecs, store: Store, batch_size: int, run_id: str
) -> Iterator[pa.Table]:
    log_in_worker(run_id)
    yield from read_portion(portion, chip_specs, store, batch_size)


def _plain(error: RayError) -> ScenehashError:
    """Return the ScenehashError of a task, or else an EncodingError with the last line of Ray's message."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ScenehashError) and not isinstance(cause, RayError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    *_, last = str(error).strip().splitlines() or [repr(error)]
    return EncodingError(f"a unit couldn't be encoded: {last.strip()}; run again")
