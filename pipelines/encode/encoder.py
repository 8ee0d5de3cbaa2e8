"""Chips to codes: the actor that holds the network.

Shapes: N chips, H x W pixels, C bands, Y bytes a code.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.encode.chips import CHIP
from pipelines.encode.usage import metered
from pipelines.registry.bundles import read_bundle
from pipelines.runtime.logs import log_in_worker
from pipelines.storage.store import Store


class Encoder:
    """Replaces the column ``pixels`` of a batch by the column ``code``. An actor of Ray Data."""

    def __init__(
        self, bundle_uri: str, store: Store, chip_size: int, gpus: float = 0, run_id: str = ""
    ) -> None:
        """Load the network, onto the actor's GPU if Ray has given it one.

        ``gpus`` is how many GPUs the actor holds, to count their time. ``run_id`` is the night's; the lines
        that the actor logs carry it.
        """
        import torch  # here: reading tasks import this module too, and torch takes seconds and 200 MB

        log_in_worker(run_id)
        torch.set_num_threads(1)  # more actors, not more threads, use more CPUs
        manifest, network = read_bundle(bundle_uri, store)
        self.network = network.to("cuda" if torch.cuda.is_available() else "cpu")
        self.gpus = gpus
        self.shape = (-1, chip_size, chip_size, len(manifest.input.bands))

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Encode the rows that are chips; the code of other rows is null."""
        yield from metered(map(self._encode, [batch]), self.gpus)

    def _encode(self, batch: pa.Table) -> pa.Table:
        import torch

        is_chip = pc.equal(batch["outcome"], CHIP)
        pixels = b"".join(batch["pixels"].filter(is_chip).to_pylist())
        chips_NHWC = np.frombuffer(pixels, np.uint8).reshape(self.shape).copy()
        codes_NY = self.network.encode(torch.from_numpy(chips_NHWC))
        codes = iter(codes_NY)
        column = [next(codes).tobytes() if chip else None for chip in is_chip.to_pylist()]
        return batch.drop_columns(["pixels"]).append_column("code", pa.array(column, pa.binary()))
