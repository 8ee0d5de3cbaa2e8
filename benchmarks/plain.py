"""What a user would write in place of a night: plain torch, float32, a DataLoader, one Parquet file.

Shapes: N, B chips, S x S pixels, K bits, Y bytes a code.
"""

import io
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model.codes import Codes
from model.network import HashNetwork
from model.preprocess import preprocess
from pipelines.storage.store import Store

_WORKERS = 2


def plain_network(network: HashNetwork) -> HashNetwork:
    """Return the same network as torch lays it out by itself: channels first."""
    plain = HashNetwork(network.network_spec, network.input_spec)
    plain.load_state_dict(network.state_dict())
    return plain.eval().to(memory_format=torch.contiguous_format)


@torch.inference_mode()
def encode(network: HashNetwork, chips_BHWC: Tensor) -> Codes:
    """Turn chips into codes_BY, eager and in float32; packed as faiss does, bit 0 first."""
    outputs_BK = network(preprocess(chips_BHWC, network.input_spec).contiguous())
    return np.packbits(outputs_BK.numpy() > 0, axis=1, bitorder="little")


@dataclass(frozen=True)
class Scenes(Dataset[tuple[str, Tensor]]):
    """Scenes in the bucket, decoded one at a time."""

    uris: list[str]
    store: Store

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.uris)

    def __getitem__(self, row: int) -> tuple[str, Tensor]:
        """Return one's name and chip_HWC."""
        image = Image.open(io.BytesIO(self.store.read(self.uris[row]))).convert("RGB")
        return self.uris[row], torch.from_numpy(np.asarray(image).copy())


def encode_bucket(network: HashNetwork, uris: list[str], store: Store, target: str, batch: int) -> float:
    """Encode scenes of one size into one Parquet file; return images a second once the workers are up."""
    loader = DataLoader(
        Scenes(uris, store), batch, num_workers=_WORKERS, multiprocessing_context="spawn", timeout=120
    )
    names: list[str] = []
    codes: list[Codes] = []
    started = 0.0
    for names_B, chips_BHWC in loader:
        codes.append(encode(network, chips_BHWC))
        names += names_B
        started = started or time.perf_counter()  # after the first batch
    codes_NY = np.concatenate(codes)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"uri": names, "code": [code_Y.tobytes() for code_Y in codes_NY]}), buffer)
    store.write(target, buffer.getvalue())
    return (len(names) - len(codes[0])) / (time.perf_counter() - started)
