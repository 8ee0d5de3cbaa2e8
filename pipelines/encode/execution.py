"""The cluster's portion of a night: one Ray Data execution for all its units, and the actor that writes them.

portions (one task) -> read (tasks) -> Encoder (a pool of actors) -> parcels, in order -> Writer (one actor)
"""

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError

from pipelines.encode.config import EncodeConfig
from pipelines.encode.encoder import Encoder, EncoderSpec
from pipelines.encode.pace import Pace, Pacer, sizes
from pipelines.encode.parcels import Label, label_of, portions, read_portion, rows_of
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.errors import EncodingError, ScenehashError
from pipelines.runtime.logs import log_in_worker
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.store import Store

_WRITER: dict[str, Any] = {"num_cpus": 0.05, "concurrency_groups": {"look": 1}}
_WRITER |= {"max_restarts": -1, "max_task_retries": -1}  # if its node is lost, it is given its parcels again
_OBJECTS_PER_ENCODER = 16  # of a plan, for those that a night begins with
_OBJECTS_AT_LEAST = 4  # of a plan, for each; to start one takes seconds
_THREADS_ON_GPU = 2  # of an encoder: one batch is copied to the GPU while the other one is encoded
_PARCELS: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}


def _stage_cpus(config: EncodeConfig) -> tuple[float, float]:
    """Return the CPUs of a task that reads, and of an encoder, which has one thread.

    On CPUs they leave one CPU to each encoder and the task beside it: Ray Data adds encoders while they are
    busy and there are CPUs. Beside a GPU two tasks read on each CPU, as they wait for the store. Stages with
    the same resources would be fused into one.
    """
    return (0.5, 0.45) if config.gpus_per_encoder else (0.2, 0.75)


def cpus_needed(config: EncodeConfig) -> float:
    """Return how many CPUs a night needs at once: for its encoders, a task that reads, and what writes."""
    read_cpus, encoder_cpus = _stage_cpus(config)
    return max(1, config.encoders) * encoder_cpus + read_cpus + float(_WRITER["num_cpus"])


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
        writer: Any = ray.remote(**_WRITER)(Writer)
        self._writer: Any = writer.remote(config.table.rstrip("/"), Store(config.store), lineage)
        self._pacer: Any = ray.remote(num_cpus=0, label_selector=_here())(Pacer).remote()
        self._pace = Pace(self._pacer)
        planned = _planned(plan, config.objects_per_unit, self._pacer)
        self._dataset = _encoded(planned, config, bundle_uri, chip_specs, lineage.run_id, objects)

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


def _here() -> dict[str, str]:
    """Return the label of the driver's node, where the plan's file is."""
    return {"ray.io/node-id": ray.get_runtime_context().get_node_id()}


def _planned(plan: Path, objects_per_unit: int, pacer: Any) -> ray.data.Dataset:  # noqa: ANN401
    """Return a plan's portions, each made when the pacer allows it, by one task."""
    dataset = ray.data.from_arrow(pa.table({"plan": [str(plan)]}))
    context = dataset.context  # of this execution alone, also where another night runs in this process
    context.execution_options.preserve_order = True  # units come one after the other
    context.target_max_block_size = 1  # a row is a block
    context.execution_no_progress_timeout_s = -1  # none: new nodes may be long in coming
    context.print_on_execution_start = False
    return dataset.map_batches(
        partial(_portions, objects_per_unit=objects_per_unit, pacer=pacer),
        compute=ray.data.TaskPoolStrategy(size=1),
        num_cpus=0,
        label_selector=_here(),
        **_PARCELS,
    )


def _encoded(
    planned: ray.data.Dataset,
    config: EncodeConfig,
    bundle_uri: str,
    chip_specs: ChipSpecs,
    run_id: str,
    objects: int,
) -> ray.data.Dataset:
    """Return the encoded parcels of portions."""
    of_both: dict[str, Any] = {"store": Store(config.store), "run_id": run_id}
    spec = EncoderSpec(bundle_uri, config.chip_size, config.batch_size, config.gpus_per_encoder)
    read_cpus, encoder_cpus = _stage_cpus(config)
    read = planned.map_batches(
        partial(_read, chip_specs=chip_specs, batch_size=config.batch_size, **of_both),
        num_cpus=read_cpus,
        **_PARCELS,
    )
    return read.map_batches(
        Encoder,
        fn_constructor_kwargs={"spec": spec} | of_both,
        compute=encoder_pool(config, objects),
        num_cpus=encoder_cpus,
        num_gpus=config.gpus_per_encoder or None,
        **_PARCELS,
    )


def encoder_pool(config: EncodeConfig, objects: int) -> ray.data.ActorPoolStrategy:
    """Return the pool that encodes so many objects.

    It has as many actors as the config says, or else it begins with those that fit the cluster now. More are
    added while all are busy and the cluster has room for them, also on nodes that join later.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    per_encoder = config.gpus_per_encoder
    fit = resources.get("GPU", 1) / per_encoder if per_encoder else resources.get("CPU", 1)
    smallest = max(1, min(int(fit), -(-objects // _OBJECTS_PER_ENCODER)))
    largest = max(smallest, objects // _OBJECTS_AT_LEAST)
    size = {"size": config.encoders} if config.encoders else {"min_size": smallest, "max_size": largest}
    return ray.data.ActorPoolStrategy(
        **size,
        max_concurrent_calls_per_actor=_THREADS_ON_GPU if per_encoder else 1,
        enable_true_multi_threading=bool(per_encoder),
    )


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
