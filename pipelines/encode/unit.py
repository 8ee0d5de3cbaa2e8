"""One unit on the cluster: objects are read, chips encoded, shards written; nothing is committed yet."""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import ray
from ray.exceptions import RayError

from pipelines.encode.chips import read_objects
from pipelines.encode.config import EncodeConfig
from pipelines.encode.encoder import Encoder
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.encode.usage import metered
from pipelines.errors import EncodingError, ScenehashError
from pipelines.runtime.logs import current_run, log_in_worker
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.store import Store

READ_CPUS = 0.5
ENCODER_CPUS = 0.45
"""CPUs of a task that reads, and of an actor that encodes on one thread: together they fill one CPU.

A reading task mostly waits, for the store and for the encoder: Ray Data pauses it when chips pile up. The two
numbers differ because Ray Data would fuse two stages with the same resources into one.
"""
_OBJECTS_PER_TASK = 16  # few enough to spread the work, enough to hide the start of a task


def count_encoders(config: EncodeConfig, objects: int) -> int:
    """Return how many actors encode a unit of ``objects`` objects. Needs a running Ray."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, per_encoder = resources.get("CPU", 1), config.gpus_per_encoder
    default = resources.get("GPU", 1) / per_encoder if per_encoder else cpus
    tasks = -(-objects // _OBJECTS_PER_TASK)
    return config.encoders or max(1, min(int(default), tasks))


def encode_unit(
    unit: pa.Table, config: EncodeConfig, bundle_uri: str, chip_specs: ChipSpecs, lineage: Lineage
) -> UnitResult:
    """Read the objects on CPU tasks, encode their chips on an actor pool, write the shards from one task.

    Raises a ScenehashError of a task as it is, and EncodingError for any other failure in Ray.
    """
    store = Store(config.store)
    encoded = encoded_rows(unit, config, bundle_uri, chip_specs)
    write = ray.remote(num_cpus=READ_CPUS)(_write)
    try:
        result: UnitResult = ray.get(
            # a list passes the blocks by reference: the task fetches one at a time
            write.remote(config.table.rstrip("/"), store, lineage, encoded.to_arrow_refs())
        )
    except RayError as error:
        raise _plain(error, len(unit)) from error
    return result


def _plain(error: RayError, objects: int) -> ScenehashError:
    """Return the ScenehashError of a task, or else an EncodingError with the last line of Ray's message."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ScenehashError) and not isinstance(cause, RayError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    *_, last = str(error).strip().splitlines() or [repr(error)]
    return EncodingError(f"a unit of {objects} objects couldn't be encoded: {last.strip()}; run again")


def encoded_rows(
    unit: pa.Table, config: EncodeConfig, bundle_uri: str, chip_specs: ChipSpecs
) -> ray.data.Dataset:
    """Return the rows to write, in no particular order, as a lazy dataset."""
    store = Store(config.store)
    starts = range(0, len(unit), _OBJECTS_PER_TASK)
    # sliced here: tasks of a repartition take a whole CPU, which a small node never has beside its encoders
    return (
        ray.data.from_arrow([unit.slice(start, _OBJECTS_PER_TASK) for start in starts])
        .map_batches(
            partial(_read, chip_specs=chip_specs, store=store, run_id=current_run()),
            batch_size=_OBJECTS_PER_TASK,
            batch_format="pyarrow",
            num_cpus=READ_CPUS,
        )
        .map_batches(
            Encoder,
            fn_constructor_kwargs={
                "bundle_uri": bundle_uri,
                "store": store,
                "chip_size": config.chip_size,
                "gpus": config.gpus_per_encoder,
                "run_id": current_run(),
            },
            batch_size=config.batch_size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=count_encoders(config, len(unit))),
            num_cpus=ENCODER_CPUS,
            num_gpus=config.gpus_per_encoder,
        )
    )


def _read(objects: pa.Table, chip_specs: ChipSpecs, store: Store, run_id: str) -> Iterator[pa.Table]:
    log_in_worker(run_id)
    yield from metered(read_objects(objects, chip_specs, store))


def _write(
    table_uri: str, store: Store, lineage: Lineage, blocks: "list[ray.ObjectRef[pa.Table]]"
) -> UnitResult:
    log_in_worker(lineage.run_id)
    return write_unit(table_uri, store, lineage, *(partial(ray.get, block) for block in blocks))
