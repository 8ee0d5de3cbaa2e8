"""The actor that holds the network: batches of chips to codes. It lives as long as the night.

Shapes: N chips, H x W pixels, C bands.
"""

import threading
import time

import numpy as np
from numpy.typing import NDArray

from pipelines.encode.encoding import Coded
from pipelines.encode.usage import Cost
from pipelines.registry.bundles import read_bundle
from pipelines.runtime.logs import log_in_worker
from pipelines.storage.store import Store


class Encoder:
    """Encodes batches. Two threads may call it at once: see `BatchEncoder`."""

    def __init__(self, bundle_uri: str, store: Store, gpus: float = 0, run_id: str = "") -> None:
        """Load the network, onto the actor's GPU if Ray has given it one.

        ``gpus`` is how many GPUs the actor holds, to count their time. ``run_id`` is the night's; the lines
        that the actor logs carry it.
        """
        import torch  # here: the driver imports this module too, and torch takes seconds and 200 MB

        from model.encoder import BatchEncoder

        log_in_worker(run_id)
        torch.set_num_threads(1)  # more actors, not more threads, use more CPUs
        _, network = read_bundle(bundle_uri, store)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._encoder, self._gpus = BatchEncoder(network, device), gpus
        self._counting = threading.Lock()
        self._counted_cpu, self._counted = time.process_time(), time.perf_counter()

    def ready(self) -> None:
        """Return once the network is loaded."""

    def encode(self, chips_NHWC: NDArray[np.uint8]) -> Coded:
        """Return the codes of some chips, and what they cost."""
        started = time.perf_counter()
        codes_NY = self._encoder.encode(chips_NHWC)
        return Coded(codes_NY, self._cost_since(started))

    def _cost_since(self, started: float) -> Cost:
        """Return what this process spent since ``started``, but for what another thread has counted."""
        with self._counting:
            now_cpu, now = time.process_time(), time.perf_counter()
            cost = Cost(now_cpu - self._counted_cpu, self._gpus * (now - max(started, self._counted)))
            self._counted_cpu, self._counted = now_cpu, now
        return cost
