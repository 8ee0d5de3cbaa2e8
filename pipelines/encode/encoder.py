"""The actor that holds the network: chips of a parcel to codes. It lives as long as the night's execution.

Shapes: N chips, H x W pixels, C bands.
"""

import threading
import time

import numpy as np
import pyarrow as pa

from pipelines.encode.parcels import chips_of, encoded_parcel
from pipelines.encode.usage import Cost
from pipelines.registry.bundles import read_bundle
from pipelines.runtime.logs import log_in_worker
from pipelines.storage.store import Store


class Encoder:
    """Encodes parcels. An actor of Ray Data; two threads may call it at once: see `BatchEncoder`."""

    def __init__(
        self,
        bundle_uri: str,
        store: Store,
        chip_size: int,
        batch_size: int,
        gpus: float = 0,
        run_id: str = "",
        threads: int = 1,
    ) -> None:
        """Load the network, onto the actor's GPU if Ray has given it one.

        ``gpus`` is how many GPUs the actor holds, to count their time; 0: the network runs on the CPU.
        ``run_id`` is the night's; the lines that the actor logs carry it. ``threads``: of the network, on a
        CPU. More actors, not more threads, use more CPUs.
        """
        import torch  # here: the driver imports this module too, and torch takes seconds and 200 MB

        from model.encoder import BatchEncoder

        log_in_worker(run_id)
        torch.set_num_threads(threads)
        manifest, network = read_bundle(bundle_uri, store)
        device = torch.device("cuda" if gpus and torch.cuda.is_available() else "cpu")
        self._encoder, self._gpus, self._batch_size = BatchEncoder(network, device), gpus, batch_size
        self._shape_HWC = chip_size, chip_size, len(manifest.input.bands)
        self._counting = threading.Lock()
        self._counted_cpu, self._counted = time.process_time(), time.perf_counter()

    def __call__(self, parcel: pa.Table) -> pa.Table:
        """Return a parcel with codes in the place of chips."""
        started = time.perf_counter()
        chips_NHWC = chips_of(parcel, self._shape_HWC)
        starts = range(0, len(chips_NHWC), self._batch_size)
        codes = [self._encoder.encode(chips_NHWC[start : start + self._batch_size]) for start in starts]
        codes_NY = np.concatenate(codes) if codes else None
        return encoded_parcel(parcel, codes_NY, self._cost_since(started), time.perf_counter() - started)

    def _cost_since(self, started: float) -> Cost:
        """Return what this process spent since ``started``, but for what another thread has counted."""
        with self._counting:
            now_cpu, now = time.process_time(), time.perf_counter()
            cost = Cost(now_cpu - self._counted_cpu, self._gpus * (now - max(started, self._counted)))
            self._counted_cpu, self._counted = now_cpu, now
        return cost
