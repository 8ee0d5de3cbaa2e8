"""The cluster's part of a night: tasks that read, actors that encode, and one that writes units."""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import ray
import structlog
from ray.exceptions import RayError

from pipelines.encode.config import EncodeConfig
from pipelines.encode.encoder import Encoder
from pipelines.encode.encoding import encode_objects, packed, unpacked
from pipelines.encode.sender import Sender
from pipelines.encode.shards import Lineage, UnitResult, write_unit
from pipelines.errors import EncodingError, ScenehashError
from pipelines.runtime.logs import log_in_worker
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.store import Store

READ_CPUS = 0.5
ENCODER_CPUS = 0.45
WRITER_CPUS = 0.05
"""CPUs of a task that reads, of an actor that encodes on one thread, and of the one that writes: together
they fill one CPU. A reading task mostly waits for the encoders."""
CPUS_BESIDE = READ_CPUS + WRITER_CPUS
"""CPUs that a night needs beside its encoders."""

_OBJECTS_PER_ENCODER = 16  # at least; fewer objects don't need one more
_THREADS_ON_GPU = 2  # of an encoder: one batch is copied to the GPU while the other one is encoded
_TRIES = 5  # of a reading task, or of loading an encoder: it may itself be why its process dies
_LOOKED_AT = 5.0  # seconds after which the cluster's size is looked at again

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Running:
    """Work on the cluster: it is done once ``ended`` is there; ``result`` stays in the object store."""

    ended: Any
    """ObjectRef of a reading task's seconds, or of a unit's result."""
    result: Any


class RayWorkers:
    """All that a night has on the cluster, from its first unit to its last."""

    def __init__(
        self, config: EncodeConfig, bundle_uri: str, chip_specs: ChipSpecs, lineage: Lineage, objects: int
    ) -> None:
        """Start the actors for a night of so many objects. Needs a running Ray."""
        self._config, self._objects = config, objects
        store = Store(config.store)
        of_writer = {"num_cpus": WRITER_CPUS, "max_task_retries": -1}
        self._writer = _start(Writer, config.table.rstrip("/"), store, lineage, **of_writer)
        self._start_encoder = partial(
            _start,
            Encoder,
            *(bundle_uri, store, config.gpus_per_encoder, lineage.run_id),
            num_cpus=ENCODER_CPUS,
            num_gpus=config.gpus_per_encoder,
            max_concurrency=_THREADS_ON_GPU if config.gpus_per_encoder else 1,
        )
        self._encoders: list[Any] = []
        self._loading: dict[Any, Any] = {}  # ref of `ready` -> encoder
        self._lost: Counter[Any] = Counter()  # how often each encoder was lost while it was loading
        options = {"num_cpus": READ_CPUS, "scheduling_strategy": "SPREAD", "max_retries": _TRIES}
        self._read = ray.remote(num_returns=2, **options)(_encode).remote
        self._rest = ray.put((chip_specs, store, config.batch_size, lineage.run_id))
        self._next_look = 0.0
        self._slots = 1
        self._running: set[Running] = set()

    def slots(self) -> int:
        """Return how many reading tasks shall be under way: those that fit the cluster, and as many waiting.

        The ones that wait show an autoscaler that there is work for more nodes.
        """
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOKED_AT
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            while len(self._encoders) < self._wanted_encoders(resources):
                encoder = self._start_encoder()
                self._encoders.append(encoder)
                self._loading[encoder.ready.remote()] = encoder
            free = resources.get("CPU", 0) - WRITER_CPUS - ENCODER_CPUS * len(self._encoders)
            self._slots = max(1, int(free / READ_CPUS))
        return 2 * self._slots

    def _wanted_encoders(self, resources: dict[str, float]) -> int:
        per_encoder = self._config.gpus_per_encoder
        fit = resources.get("GPU", 0) / per_encoder if per_encoder else resources.get("CPU", 0)
        return self._config.encoders or max(1, min(int(fit), -(-self._objects // _OBJECTS_PER_ENCODER)))

    def encode(self, objects: pa.Table) -> Running:
        """Start to read and encode some objects of a unit."""
        loading = set(self._loading.values())
        loaded = [encoder for encoder in self._encoders if encoder not in loading]
        running = Running(*self._read(objects, loaded or self._encoders, self._rest))
        self._running.add(running)
        return running

    def write(self, parts: Sequence[Running]) -> Running:
        """Start to write a unit's shards, once all its objects are encoded."""
        result = self._writer.write.remote([part.result for part in parts])
        return Running(result, result)

    def ended(self, running: Collection[Running], seconds: float) -> list[Running]:
        """Return those that have ended; wait at most so many seconds for the first one.

        Raises a ScenehashError of an encoder that can't load its network, EncodingError for other reasons.
        """
        by_ref = {each.ended: each for each in running}
        refs = [*by_ref, *self._loading]
        found, _ = ray.wait(refs, num_returns=1, timeout=seconds, fetch_local=False)
        more, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        ended = {*found, *more}
        for ref in ended & set(self._loading):
            self._loaded(ref)
        done = [by_ref[ref] for ref in by_ref if ref in ended]
        self._running -= set(done)
        return done

    def _loaded(self, ref: Any) -> None:  # noqa: ANN401
        encoder = self._loading.pop(ref)
        try:
            ray.get(ref)
        except RayError as error:
            reason = _plain(error)
            self._lost[encoder] += 1
            if not isinstance(reason, EncodingError) or self._lost[encoder] == _TRIES:
                raise reason from error
            self._loading[encoder.ready.remote()] = encoder  # it starts again, maybe on another node

    def value(self, running: Running) -> Any:  # noqa: ANN401
        """Return the seconds of a reading task that has ended, or the `UnitResult` of a unit.

        Raises a ScenehashError of a task as it is, and EncodingError for any other failure in Ray.
        """
        try:
            return ray.get(running.ended)
        except RayError as error:
            raise _plain(error) from error

    def close(self) -> None:
        """End all that is still at work."""
        for running in self._running:
            ray.cancel(running.ended, force=True)
        for actor in (*self._encoders, self._writer):
            ray.kill(actor)


class Writer:
    """The actor that writes units, one at a time."""

    def __init__(self, table_uri: str, store: Store, lineage: Lineage) -> None:
        log_in_worker(lineage.run_id)
        self._write_unit = partial(write_unit, table_uri, store, lineage)

    def write(self, parts: "list[ray.ObjectRef[pa.Buffer]]") -> UnitResult:
        """Write a unit's rows as shards; one part is fetched at a time."""
        return self._write_unit(rows for part in parts for rows in unpacked(ray.get(part)))


def _start(actor_class: type, *args: object, **options: Any) -> Any:  # noqa: ANN401
    """Start an actor; if its node is lost, it starts again wherever there is room."""
    spread = {"scheduling_strategy": "SPREAD", "max_restarts": -1}
    return ray.remote(**spread, **options)(actor_class).remote(*args)


def _encode(objects: pa.Table, encoders: list[Any], rest: tuple[Any, ...]) -> tuple[float, pa.Buffer]:
    """Return how long it took to read and encode some objects, and their rows (`packed`)."""
    chip_specs, store, batch_size, run_id = rest
    log_in_worker(run_id)
    started = time.monotonic()
    with Sender(encoders) as sender:
        rows = packed(encode_objects(objects, chip_specs, store, sender.send, batch_size))
    return time.monotonic() - started, rows


def _plain(error: RayError) -> ScenehashError:
    """Return the ScenehashError of a task, or else an EncodingError with the last line of Ray's message."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ScenehashError) and not isinstance(cause, RayError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    *_, last = str(error).strip().splitlines() or [repr(error)]
    return EncodingError(f"a unit couldn't be encoded: {last.strip()}; run again")
