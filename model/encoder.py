"""Chips in memory to codes, batch after batch, on the CPU or on a GPU that is kept busy.

Shapes: B chips, H x W pixels, C bands, Y bytes a code.
"""

import threading
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.codes import Codes
from model.network import HashNetwork


class BatchEncoder:
    """Encodes batches with `HashNetwork.encode`. Each thread that calls it has its own stream and buffer.

    On a GPU a batch is copied from pinned memory, so that its copy and another thread's forward pass overlap.
    """

    def __init__(self, network: HashNetwork, device: torch.device) -> None:
        """Move the network to the device."""
        self._network, self._device = network.to(device), device
        self._own = threading.local()

    def encode(self, chips_BHWC: NDArray[np.uint8]) -> Codes:
        """Return packed codes_BY of uint8 chips, which may be read-only."""
        staged_BHWC = self._staged(chips_BHWC)
        with self._stream():
            return self._network.encode(staged_BHWC)

    def _staged(self, chips_BHWC: NDArray[np.uint8]) -> Tensor:
        """Return the chips in this thread's buffer, which grows to the largest batch."""
        buffer: Tensor | None = getattr(self._own, "buffer", None)
        if buffer is None or buffer.numel() < chips_BHWC.size:
            buffer = torch.empty(chips_BHWC.size, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
            self._own.buffer = buffer
        staged_BHWC = buffer[: chips_BHWC.size].view(chips_BHWC.shape)
        np.copyto(staged_BHWC.numpy(), chips_BHWC)
        return staged_BHWC

    def _stream(self) -> torch.cuda.StreamContext | nullcontext[None]:
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._own.stream)
