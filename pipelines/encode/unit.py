"""One unit on the cluster: read and cut, encode, write; nothing is committed yet."""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import ray

from pipelines.encode.chips import read_objects
from pipelines.encode.config import EncodeConfig
from pipelines.encode.encoder import Encoder
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.encode.usage import metered
from pipelines.pixels import PixelSpec
from pipelines.storage import Store

READ_CPUS = 0.5
"""Of a task that reads. It waits for the store; with the encoder's CPUs it would be fused into that stage."""
_OBJECTS_PER_TASK = 16  # small enough to spread, large enough to hide a task's start


def encode_unit(
    unit: pa.Table, config: EncodeConfig, bundle_uri: str, pixels: PixelSpec, lineage: Lineage
) -> UnitResult:
    """Read and cut objects on CPU tasks, encode on an actor pool, write from one task."""
    store = Store(config.store)
    encoded = (
        ray.data.from_arrow(unit)
        .repartition(target_num_rows_per_block=_OBJECTS_PER_TASK)
        .map_batches(
            partial(_read, pixels=pixels, config=config),
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
            },
            batch_size=config.batch_size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=config.encoders),
            num_cpus=1,
            num_gpus=config.gpus_per_encoder,
        )
    )
    write = ray.remote(num_cpus=READ_CPUS)(write_unit)
    result: UnitResult = ray.get(
        write.remote(config.table.rstrip("/"), store, lineage, *encoded.to_arrow_refs())
    )
    return result


def _read(objects: pa.Table, pixels: PixelSpec, config: EncodeConfig) -> Iterator[pa.Table]:
    yield from metered(read_objects(objects, pixels, config))
