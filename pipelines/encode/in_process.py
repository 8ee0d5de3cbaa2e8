"""A small night's execution: its own process reads, encodes and writes. Ray alone takes longer to start.

portion -> read -> Encoder -> parcels, in order -> written
"""

import os
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, repeat
from pathlib import Path

import pyarrow as pa

from pipelines.encode.config import EncodeConfig
from pipelines.encode.encoder import Encoder, EncoderSpec
from pipelines.encode.parcels import Label, label_of, portions, read_portion, rows_of
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.runtime.threads import merged
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.store import Store

FEW_OBJECTS = 16
"""Most objects of a night that takes no cluster: Ray needs six seconds to start and to end."""
MOST_READERS = 8
"""Most threads that read at a time; each holds a parcel, of 64 MiB at most."""


def suffices(config: EncodeConfig, objects: int) -> bool:
    """Return whether a night over so many objects needs no cluster.

    It takes one if the config says how many encoders there shall be, or where they find their GPUs, and if
    this process is part of a cluster already.
    """
    is_in_cluster = "RAY_ADDRESS" in os.environ or ("ray" in sys.modules and _has_ray())
    asks_for_encoders = config.encoders or config.gpus_per_encoder
    return objects <= FEW_OBJECTS and not asks_for_encoders and not is_in_cluster


def _has_ray() -> bool:
    import ray  # here: what nothing has imported yet isn't running either

    return ray.is_initialized()


class InProcessExecution:
    """Reads and encodes a plan's units when they are asked for: see `stream.Execution`."""

    def __init__(
        self,
        config: EncodeConfig,
        bundle_uri: str,
        chip_specs: ChipSpecs,
        lineage: Lineage,
        plan: Path,
        objects: int,
    ) -> None:
        """Load the network; it runs with a thread for each core. ``plan`` is the file of so many objects."""
        self.config, self.chip_specs, self.store, self._plan = config, chip_specs, Store(config.store), plan
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._readers = min(cores, MOST_READERS)
        self._objects_per_portion = -(-min(objects, config.objects_per_unit) // self._readers)
        # before torch is imported: its threads shall leave the cores to the readers while they wait
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        spec = EncoderSpec(bundle_uri, config.chip_size, config.batch_size, threads=cores)
        self._encoder = Encoder(spec, self.store)
        self._write_unit = partial(write_unit, config.table, self.store, lineage)

    def parcels(self) -> Generator[tuple[Label, pa.Table]]:
        """Yield what each parcel says of itself, and it: unit after unit."""
        all_portions = portions(self._plan, self.config.objects_per_unit, repeat(self._objects_per_portion))
        for _, of_unit in groupby(all_portions, key=lambda portion: portion["unit"][0].as_py()):
            held: tuple[Label, pa.Table] | None = None
            for parcel in merged(self.read, list(of_unit), self._readers):
                if held:
                    yield held
                encoded = self._encoder(_counted_once(parcel))
                held = replace(label_of(encoded), ends_unit=False), encoded
            if held:
                yield replace(held[0], ends_unit=True), held[1]

    def read(self, portion: pa.Table) -> Iterator[pa.Table]:
        """Yield a portion's chips as parcels."""
        return read_portion(portion, self.chip_specs, self.store, self.config.batch_size)

    def write(self, unit: pa.Table, parcels: Sequence[pa.Table]) -> UnitResult:
        """Write a unit's shards."""
        return self._write_unit(unit, map(rows_of, parcels))

    def is_written(self, writing: UnitResult) -> bool:  # noqa: ARG002
        """Return True: `write` returns when all is written."""
        return True

    def written(self, writing: UnitResult) -> UnitResult:
        """Return what `write` has returned."""
        return writing

    def close(self) -> None:
        """Do nothing: nothing is at work."""


def _counted_once(parcel: pa.Table) -> pa.Table:
    """Return a parcel without the processor time of reading: the encoder counts all of this process."""
    place = parcel.schema.get_field_index("cpu_seconds")
    return parcel.set_column(place, "cpu_seconds", pa.array([0.0]))
