"""The actor that holds the network: chips of a parcel to codes. It lives as long as the night's execution.

Shapes: N chips, H x W pixels, C bands.
"""

import threading
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.encode.parcels import chips_of, encoded_parcel
from pipelines.encode.usage import Cost
from pipelines.registry.bundles import read_bundle
from pipelines.runtime.logs import log_in_worker
from pipelines.storage.store import Store


@dataclass(frozen=True)
class EncoderSpec:
    """What an encoder loads, and how it runs."""

    bundle_uri: str
    chip_size: int
    """Width and height of the chips [pixels]."""
    batch_size: int
    """Chips in one forward pass."""
    gpus: float = 0
    """GPUs that the actor holds, to count their time; 0: the network runs on the CPU."""
    threads: int = 1
    """Of the network, on a CPU. More actors, not more threads, use more CPUs."""


class Encoder:
    """Encodes parcels. An actor of Ray Data; two threads may call it at once: see `BatchEncoder`."""

    def __init__(self, spec: EncoderSpec, store: Store, run_id: str = "") -> None:
        """Load the network, onto the actor's GPU if Ray has given it one.

        ``run_id`` is the night's; the lines that the actor logs carry it.
        """
        import torch  # here: the driver imports this module too, and torch takes seconds and 200 MB

        from model.encoder import BatchEncoder

        log_in_worker(run_id)
        torch.set_num_threads(spec.threads)
        manifest, network = read_bundle(spec.bundle_uri, store)
        device = torch.device("cuda" if spec.gpus and torch.cuda.is_available() else "cpu")
        self._encoder, self._spec = BatchEncoder(network, device), spec
        self._shape_HWC = spec.chip_size, spec.chip_size, len(manifest.input.bands)
        self._counting = threading.Lock()
        self._counted_cpu, self._counted = time.process_time(), time.perf_counter()

    def __call__(self, parcel: pa.Table) -> pa.Table:
        """Return a parcel with codes in the place of chips."""
        started = time.perf_counter()
        chips_NHWC = chips_of(parcel, self._shape_HWC)
        size = self._spec.batch_size
        starts = range(0, len(chips_NHWC), size)
        codes = [self._encoder.encode(chips_NHWC[start : start + size]) for start in starts]
        codes_NY = np.concatenate(codes) if codes else None
        return encoded_parcel(parcel, codes_NY, self._cost_since(started), time.perf_counter() - started)

    def _cost_since(self, started: float) -> Cost:
        """Return what this process spent since ``started``, but for what another thread has counted."""
        with self._counting:
            now_cpu, now = time.process_time(), time.perf_counter()
            cost = Cost(now_cpu - self._counted_cpu, self._spec.gpus * (now - max(started, self._counted)))
            self._counted_cpu, self._counted = now_cpu, now
        return cost
